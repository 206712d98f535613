#!/bin/sh
# Made by Fluvial. Called by SWUpdate: preinst before anything is written, postinst before the boot loader is told.
# Whatever cannot be checked is refused.
set -u
LC_ALL=C
export LC_ALL

# fail PARTITION REASON
fail() {
  printf 'fluvial: %s: %s\n' "$1" "$2" >&2
  exit 1
}

# digest_of FILE MEBIBYTES BYTES: the SHA-256 of so many bytes at its start.
digest_of() {
  {
    if [ "$2" -gt 0 ]; then dd bs=1048576 count="$2" 2>/dev/null; fi
    if [ "$3" -gt 0 ]; then head -c "$3"; fi
  } <"$1" | sha256sum
}

# size_of FILE
size_of() {
  bytes=$(wc -c <"$1") || return 1
  printf '%s' "${bytes##* }"
}

# check_digest PARTITION WHAT FILE MEBIBYTES BYTES SHA256
check_digest() {
  found=$(digest_of "$3" "$4" "$5") || fail "$1" "$2 $3 cannot be read"
  found=${found%% *}
  [ "$found" = "$6" ] || fail "$1" "$2 $3 has the SHA-256 $found, not $6"
}

# check_base PARTITION FILE SIZE MEBIBYTES BYTES SHA256: a device may be longer than the image on it.
check_base() {
  [ -r "$2" ] || fail "$1" "base $2 is not there"
  if [ -f "$2" ]; then
    size=$(size_of "$2") || fail "$1" "base $2 cannot be read"
    [ "$size" = "$3" ] || fail "$1" "base $2 has $size bytes, not $3"
  fi
  check_digest "$1" base "$2" "$4" "$5" "$6"
}

# spoil PARTITION FILE OFFSET TEXT: puts what no right image has at its end. So a delta that was cut is not taken for
# whole because what it lacks stood there before.
spoil() {
  if [ -b "$2" ] || [ -f "$2" ]; then
    # Opened so, a file keeps its length, whatever `dd` knows of that.
    printf '%s' "$4" | dd bs=1 seek="$3" 2>/dev/null 1<>"$2" ||
      fail "$1" "target $2 cannot be written, or is too short"
  fi
}

# check_packed PARTITION NAME SIZE MEBIBYTES BYTES SHA256: SWUpdate compares a file with the description; this is for a
# description that was changed as well. It has the file beside the folder of scripts, or else somewhere unknown.
check_packed() {
  packed=${0%/*}/../$2
  [ -f "$packed" ] || return 0
  size=$(size_of "$packed") || fail "$1" "$2 cannot be read"
  [ "$size" = "$3" ] || fail "$1" "$2 has $size bytes, not $3"
  check_digest "$1" "$2 at" "$packed" "$4" "$5" "$6"
}

# check_written PARTITION FILE exact|least SIZE MEBIBYTES BYTES [SHA256]
check_written() {
  sync || fail "$1" "what was written could not be synced"
  if [ -b "$2" ]; then
    # So that what is read back comes from the device; where this cannot be done, it comes from memory.
    blockdev --flushbufs "$2" 2>/dev/null || :
  else
    size=$(size_of "$2") || fail "$1" "target $2 cannot be read"
    [ "$3" != exact ] || [ "$size" = "$4" ] || fail "$1" "target $2 has $size bytes, not $4"
  fi
  [ -z "$7" ] || check_digest "$1" target "$2" "$5" "$6" "$7"
}

# refuse_mounted PARTITION FILE NUMBER: NUMBER is the device's, major:minor.
refuse_mounted() {
  while read -r _ _ number _; do
    if [ "$number" = "$3" ]; then fail "$1" "target $2 is mounted"; fi
  done </proc/self/mountinfo || fail "$1" "what is mounted cannot be read"
}

# check_free PARTITION TARGET BASE: nobody uses the target, and it is not the base.
check_free() {
  real=$(readlink -f "$2") || fail "$1" "target $2 is not there"
  if [ -n "$3" ]; then
    base=$(readlink -f "$3") || fail "$1" "base $3 is not there"
    [ "$real" != "$base" ] || fail "$1" "target $2 is the base"
  fi
  case $real in
    # Else a file would be made where a device is missing.
    /dev/*) [ -b "$real" ] || [ -c "$real" ] || fail "$1" "target $2 is not a device" ;;
  esac
  [ -e "$real" ] || return 0
  while read -r source _; do
    if [ "$source" = "$real" ] || [ "$source" = "$2" ]; then fail "$1" "target $2 is mounted"; fi
  done </proc/mounts || fail "$1" "what is mounted cannot be read"
  [ -b "$real" ] || return 0
  block=/sys/class/block/${real##*/}
  if [ -r "$block/dev" ]; then
    # The root may be mounted under another name; a disk is used where one of its partitions is.
    for number in "$block/dev" "$block"/*/partition; do
      if [ -r "$number" ]; then
        number=$(cat "${number%/*}/dev") || fail "$1" "the number of $real cannot be read"
        refuse_mounted "$1" "$2" "$number"
      fi
    done
    for holder in "$block"/holders/*; do
      if [ -e "$holder" ]; then fail "$1" "target $2 is used by ${holder##*/}"; fi
    done
  fi
}

# is_number TEXT: every shell can compare nine digits.
is_number() {
  case $1 in '' | *[!0-9]* | ??????????*) return 1 ;; esac
}

# compare_parts A B: sets order to -1, 0 or 1. Numbers stand before texts.
compare_parts() {
  order=0
  if [ "$1" = "$2" ]; then return 0; fi
  if is_number "$1"; then
    if is_number "$2"; then
      if [ "$1" -lt "$2" ]; then order=-1; elif [ "$1" -gt "$2" ]; then order=1; fi
    else
      order=-1
    fi
  elif is_number "$2"; then
    order=1
  elif [ "$(printf '%s\n%s\n' "$1" "$2" | sort | head -n 1)" = "$1" ]; then
    order=-1
  else
    order=1
  fi
}

# compare_lists A B LACKING: parts between dots, LACKING where one has fewer; sets order.
compare_lists() {
  a=$1. b=$2. order=0
  while [ -n "$a$b" ] && [ "$order" = 0 ]; do
    if [ -z "$a" ] && [ -z "$3" ]; then order=-1; return 0; fi
    if [ -z "$b" ] && [ -z "$3" ]; then order=1; return 0; fi
    x=$3 y=$3
    if [ -n "$a" ]; then x=${a%%.*} a=${a#*.}; fi
    if [ -n "$b" ]; then y=${b%%.*} b=${b#*.}; fi
    compare_parts "$x" "$y"
  done
}

# are_numbers VERSION: numbers with dots.
are_numbers() {
  rest=$1.
  while [ -n "$rest" ]; do
    is_number "${rest%%.*}" || return 1
    rest=${rest#*.}
  done
}

# compare A B: sets order to -1, 0 or 1; fails where they cannot be compared.
compare() {
  first=${1%%+*} second=${2%%+*}
  are_numbers "${first%%-*}" && are_numbers "${second%%-*}" || return 1
  tail_first= tail_second=
  case $first in *-*) tail_first=${first#*-} ;; esac
  case $second in *-*) tail_second=${second#*-} ;; esac
  case $tail_first$tail_second in *[!A-Za-z0-9.-]*) return 1 ;; esac
  compare_lists "${first%%-*}" "${second%%-*}" 0
  if [ "$order" != 0 ] || [ "$tail_first" = "$tail_second" ]; then return 0; fi
  if [ -z "$tail_first" ]; then order=1; return 0; fi
  if [ -z "$tail_second" ]; then order=-1; return 0; fi
  compare_lists "$tail_first" "$tail_second" ''
}

# refuse_older FILE COMPONENT VERSION: FILE has lines with a component and what is installed of it.
refuse_older() {
  [ -e "$1" ] || return 0
  while read -r name installed _ || [ -n "$name" ]; do
    if [ "$name" = "$2" ]; then
      compare "$3" "$installed" || fail package "version $3 cannot be compared with $installed, which is installed"
      if [ "$order" = -1 ]; then fail package "version $3 is older than $installed, which is installed"; fi
    fi
  done <"$1" || fail package "$1 cannot be read"
}
