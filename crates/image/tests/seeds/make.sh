#!/bin/sh
# Makes the small images beside it, which are checked on every machine. They are committed as they
# are: other versions of the tools write other bytes. Run in an empty folder, then copy.
# Made with e2fsprogs 1.47.0, squashfs-tools 4.5.1, erofs-utils 1.8.6, GNU tar 1.34, GNU cpio 2.13,
# Info-ZIP 3.0, dpkg 1.21, util-linux 2.38, zstd 1.5.4, dosfstools 4.2,
# mtools 4.0.32.
set -eu
mkdir -p root/folder/deeper
seq 1 2500 > root/numbers
seq 1 900 | tac > root/folder/backwards
head -c 9000 /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 2>/dev/null > root/folder/noise
printf x > root/folder/deeper/x
: > root/empty
for number in 1 2 3 4 5 6 7 8 9; do seq 1 $number$number > root/folder/deeper/file-$number; done
truncate -s 40000 root/sparse && seq 1 300 | dd of=root/sparse conv=notrunc bs=4096 seek=3 status=none
ln root/numbers root/numbers-again
ln -s numbers root/link
printf long > "root/$(printf 'long-name-%.0s' 1 2 3 4 5 6 7 8 9 10 11 12)"
find root -exec touch -h -d @1700000000 {} +

for dialect in gnu pax; do
    tar -cSf $dialect.tar --format=$dialect --sort=name --owner=0 --group=0 -C root .
done
(cd root && find . | LC_ALL=C sort | cpio -o -H newc --quiet) > archive.cpio
{ cat archive.cpio; zstd -9 -c archive.cpio; } > initrd.img
for compressor in gzip xz lz4 zstd; do
    mksquashfs root squashfs-$compressor.img -comp $compressor -b 8192 -all-root -noappend -quiet -no-progress
done
mkfs.ext4 -q -b 1024 -N 64 -m 0 -O ^has_journal,^resize_inode -d root ext4.img 192K
mkfs.ext4 -q -b 1024 -N 64 -m 0 -O ^has_journal,^resize_inode,^extent,^64bit -d root ext2.img 192K
mkfs.erofs -x-1 -T0 --quiet erofs-plain.img root
mkfs.erofs -x-1 -T0 --quiet -zlz4hc erofs-lz4.img root
mkfs.erofs -x-1 -T0 --quiet -zlz4hc -C8192 -Eforce-inode-extended,ztailpacking erofs-lz4-big.img root
mkfs.erofs -x-1 -T0 --quiet -zzstd -C16384 -Eztailpacking erofs-zstd.img root
mkfs.erofs -x-1 -T0 --quiet -zdeflate -C8192 -Efragments erofs-fragments.img root
mkfs.erofs -x-1 -T0 --quiet --chunksize=4096 erofs-chunks.img root
(cd root && zip -q -r -y -X ../archive.zip .)
mkdir -p root/DEBIAN
printf 'Package: seed\nVersion: 1\nArchitecture: all\nMaintainer: n <n@example.org>\nDescription: seed\n' > root/DEBIAN/control
dpkg-deb -Zxz --build root package.deb > /dev/null
truncate -s 96K gpt.disk mbr.disk
printf 'label: gpt\nlabel-id: 0\nstart=40, size=16, name=a\nstart=64, size=32, name=b\n' | sfdisk -q gpt.disk
printf 'label: dos\nlabel-id: 0x1\nstart=8, size=16, type=83\nstart=32, size=128, type=5\nstart=40, size=16, type=83\nstart=80, size=8, type=83\n' | sfdisk -q mbr.disk
mkdir -p boot/folder
seq 1 800 > boot/numbers.txt
cp boot/numbers.txt 'boot/folder/a long name, with spaces.txt'
printf x > boot/folder/X
mkfs.vfat -F 12 -i 1234abcd -C fat.img 64 > /dev/null
mcopy -s -i fat.img boot/numbers.txt boot/folder ::
rm -r root boot
