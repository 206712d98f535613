#!/bin/sh
# Makes the committed seeds: small files of real tools, in corpus/TARGET, and old.tar and new.tar beside
# this script. They are committed as they are: other versions of the tools write other bytes.
# Made with gcc 12.2, clang 14, e2fsprogs 1.47.0, squashfs-tools 4.5.1, erofs-utils 1.5, GNU tar 1.34,
# GNU cpio 2.13, Info-ZIP 3.0, binutils 2.40, util-linux 2.38, zstd 1.5.4, xz 5.4.1, lz4 1.9.4, gzip 1.12,
# dosfstools 4.2. Crashes that were fixed stand beside the seeds, under names that begin with `found-`,
# and are not touched.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
corpus=$here/../corpus
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cd "$work"
export LC_ALL=C
for target in patch dissect decode recipe prove predict diff_apply swu; do mkdir -p "$corpus/$target"; done
# The first bytes of an input, in octal, then a file.
input() { { printf "$1"; cat "$2"; } > "$3"; }

program() {
    cat <<C
static int table[12];
$2
int first(int a) { return a * 3 + table[a & 7]; }
int second(int a) { table[a & 3] = first(a); return first(a + 1) - $1; }
const char *names[] = {"alpha", "beta", "gamma", "delta"};
int (*calls[])(int) = {first, second, first};
const char *name(int a) { return names[a & 3]; }
int main_loop(int a) { int b = 0; for (int i = 0; i < a; i++) b += calls[i % 3](i) + name(i)[0]; return b; }
void _start(void) { main_loop(second(7)); for (;;) {} }
C
}
program 1 '' > old.c
program 5 'int extra(int a) { int b = a; while (a--) b ^= a * table[a & 7]; return b; }' > new.c
for side in old new; do
    mkdir -p $side/etc
    gcc -Os -nostdlib -static-pie -fPIE -s -fno-asynchronous-unwind-tables -Wl,-z,noseparate-code,-z,norelro \
        -Wl,--build-id=none -Wl,--no-dynamic-linker $side.c -o $side/program
    clang --target=aarch64-linux-gnu -Os -ffreestanding -fPIE -c $side.c -o $side/module.ko
done
seq 1 500 > old/etc/numbers
{ seq 1 200; echo changed; seq 203 500; } > new/etc/numbers
for side in old new; do
    gzip -n -9 < $side/etc/numbers > $side/numbers.gz
    zstd -q -19 < $side/etc/numbers > $side/numbers.zst
    xz -6 < $side/etc/numbers > $side/numbers.xz
    lz4 -q -9 < $side/etc/numbers > $side/numbers.lz4
    find $side -exec touch -h -d @1700000000 {} +
    tar -cf $here/$side.tar -b1 --format=gnu --sort=name --owner=0 --group=0 -C $side .
done

# Streams: for `decode` a limit of 65535 bytes, for `prove` the default effort.
seq 1 300 > plain
head -c 700 old/program >> plain
gzip -n -1 < plain > 1; gzip -n -9 < plain >> 1
zlib() { python3 -c "import sys, zlib; c = zlib.compressobj($1, 8, $2); d = sys.stdin.buffer.read(); sys.stdout.buffer.write(c.compress(d) + c.flush())"; }
zlib 6 15 < plain > 2
zlib 9 -15 < plain > 3
zstd -q -3 < plain > 4; zstd -q -19 --no-check < plain >> 4
xz -0 < plain > 5
xz --format=lzma -1 < plain > 6
lz4 -q -9 < plain > 7; lz4 -q -BD -B4 --no-frame-crc < plain >> 7
lz4 -q -l < plain > 8
tail -c +9 8 > 9
cp plain 0
for code in 0 1 2 3 4 5 6 7 8 9; do
    input "\\00$(printf %o $code)\\377\\377" $code "$corpus/decode/format-$code"
    input "\\$(printf %03o $((code + 110)))" $code "$corpus/prove/format-$code"
    input "\\$(printf %03o $((code + 220)))" $code "$corpus/prove/format-$code-max"
done

# Images; those of ../../crates/image/tests/seeds are seeds, too.
mkdir -p root/folder
seq 1 400 > root/numbers
printf x > root/folder/x
seq 1 90 > root/folder/short
ln -s numbers root/link
find root -exec touch -h -d @1700000000 {} +
base='-noappend -no-progress -quiet -all-root -mkfs-time 0 -nopad'
for kind in '-noI -noD -noF -noX' '-comp gzip' '-comp zstd' '-comp xz' '-comp lz4'; do
    mksquashfs root squashfs $base $kind -b 4096 > /dev/null
    mv squashfs "$corpus/dissect/squashfs$(echo "$kind" | tr -d ' ')"
done
for kind in '' '-zlz4hc' '-zzstd -C8192' '-zdeflate -Eztailpacking' '--chunksize=4096'; do
    # Not every version knows every compressor.
    mkfs.erofs -x-1 -T0 --quiet $kind erofs root || continue
    mv erofs "$corpus/dissect/erofs$(echo "$kind" | tr -d ' ')"
done
(cd root && find . | sort | cpio -o -H newc --quiet) > cpio
{ cat cpio; zstd -q -c cpio; } > initrd
(cd root && zip -q -r -y -X ../archive.zip .)
(cd root && ar rcD ../archive.a numbers folder/x folder/short)
tar -cf gnu.tar -b1 --format=gnu --sort=name --owner=0 --group=0 -C root .
tar -cf pax.tar -b1 --format=pax --sort=name --owner=0 --group=0 -C root .
truncate -s 15K disk
printf 'label: dos\nlabel-id: 0x1\nunit: sectors\nstart=2, size=4, type=83\nstart=8, size=20, type=5\nstart=10, size=4, type=83\n' | sfdisk -q disk
truncate -s 15K gpt
printf 'label: gpt\nlabel-id: 00000000-0000-0000-0000-000000000001\ntable-length: 4\nfirst-lba: 6\nstart=6, size=4, name=a\nstart=12, size=4, name=b\n' | sfdisk -q --force gpt || rm gpt
python3 - << 'P'
import struct
# A bzImage and a zboot image of the smallest: headers as in the kernel's boot.rst and zboot-header.S.
zst = open('4', 'rb').read()
head = bytearray(1024)
head[0x1f1] = 1
head[0x1fe:0x200] = b'\x55\xaa'
head[0x202:0x206] = b'HdrS'
head[0x206:0x208] = struct.pack('<H', 0x20f)
head[0x248:0x250] = struct.pack('<II', 0, len(zst) + 4)
open('bzImage', 'wb').write(head + zst + struct.pack('<I', 2000))
head = bytearray(64)
head[:2] = b'MZ'
head[4:16] = b'zimg' + struct.pack('<II', 64, len(zst))
open('zboot', 'wb').write(head + zst + struct.pack('<I', 2000))
P
for image in cpio initrd archive.zip archive.a gnu.tar pax.tar disk gpt bzImage zboot; do
    if [ -f $image ]; then cp $image "$corpus/dissect/$image"; fi
done
# With a first byte that has the mark put in its place, see src/dissect.rs.
input '\372' cpio "$corpus/dissect/marked-cpio"
input '\361' gnu.tar "$corpus/dissect/marked-tar"

# Signatures of src/swu.rs, and the certificate that it trusts. The key is not kept.
printf 'software = { version = "1"; };\n' > content
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out "$here/swu.pem" -days 7300 -subj /CN=fuzz \
    -addext extendedKeyUsage=emailProtection -addext keyUsage=digitalSignature
for name in signature signature-alone; do
    alone=
    if [ $name = signature-alone ]; then alone='-keyid -nocerts'; fi
    openssl cms -sign -in content -out signed -signer "$here/swu.pem" -inkey key.pem -outform DER -nosmimecap \
        -binary $alone
    input '\001' signed "$corpus/swu/$name"
done
