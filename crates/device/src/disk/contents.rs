//! What is packed in an image, unpacked beside it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufWriter, Seek as _, Write as _};
use std::path::Path;

use fluvial_bundle::limits::{PACKED_EXTENTS_MAX, PACKED_FILES_MAX, UNPACKED_BYTES_MAX};
use fluvial_bundle::{Behind, Guide, HashKind, Index, RunDigest, Scatter, Unpacked, gaps, is_one};
use fluvial_delta::apply::{ApplyError, ApplyObserver, Checkpoint, Patch, Target};
use fluvial_delta::structure::{Extent, Files, Gathered, ReadAt};
use fluvial_image::{PackedFile, all_and_packed_files, content_files};

use super::medium::Medium;
use super::scratch::DiskScratch;

/// Bytes that are hashed or copied at a time.
const STEP_BYTES: usize = 256 << 10;

/// The contents of an image's packed files, in temporary storage.
#[derive(Debug)]
pub struct Contents {
    /// Which files they are of, and how long they are. Nothing is told of packing.
    pub unpacked: Unpacked,
    medium: Medium,
    /// Where nothing stands in them, because the file is known; in order.
    absent: Vec<Extent>,
}

impl Contents {
    /// Unpacks what is packed in an image to `folder`; answers that, and where the files stand that are cut, in the
    /// image and behind it. With `packing_memory_bytes`, only what can be packed again in so much memory. What does
    /// not unpack stays as it is, and so does what a `release` has as it is and not unpacked, because nobody can pack it
    /// again. Packed files are told by digests of `hash`; those that the release has as they are, and of which no other
    /// one is likely to be made, are not unpacked, and nothing is told of what they hold.
    ///
    /// # Errors
    /// What reading the image and writing to the folder report.
    pub fn find(
        image: &Medium,
        folder: &Path,
        packing_memory_bytes: Option<u64>,
        hash: HashKind,
        release: Option<&Index>,
    ) -> io::Result<(Self, Files)> {
        let plain = Plain::of(release);
        let mut out = BufWriter::new(tempfile::tempfile_in(folder)?);
        let (mut unpacked, mut parts, mut len) = (Unpacked::default(), Vec::new(), 0);
        let (all_files, packed_files) = all_and_packed_files(image);
        let mut files = Vec::new();
        for file in packed_files.into_iter().filter(|file| file.extents.len() <= PACKED_EXTENTS_MAX) {
            let digest = digest_at(image, &file.extents, hash)?;
            if !plain.has(image, &file.extents, digest, hash)? {
                files.push((digest, file));
            }
        }
        drop(plain);
        let lens = files.iter().map(|(digest, file)| (*digest, len_of(&file.extents)));
        let none = Unpacked::default();
        let unwanted = unwanted(lens, release.map_or(&none, |release| &release.unpacked));
        for (digest, file) in files {
            if unpacked.files.len() == PACKED_FILES_MAX {
                break;
            }
            if let Some(memory_bytes) = packing_memory_bytes
                && !file.can_be_packed(image, memory_bytes)?
            {
                continue;
            }
            let contents = if unwanted.contains(&digest) {
                fluvial_image::Contents::default()
            } else {
                match file.unpack(image, len, UNPACKED_BYTES_MAX - len, &mut out) {
                    Ok(contents) => contents,
                    // A full disk is no fault of the file's.
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => return Err(error),
                    Err(_) => {
                        out = begin_again(out, len)?;
                        continue;
                    }
                }
            };
            len += contents.len;
            parts.extend(contents.parts);
            unpacked.digests.push(digest);
            unpacked.lens.push(contents.len);
            unpacked.files.push(file.extents);
        }
        let medium = Medium::new(out.into_inner().map_err(io::IntoInnerError::into_error)?)?;
        let (mut files, behind) = (cut_files(&all_files, &unpacked), content_files(&medium, &parts));
        for file in cut_files(&behind, &Unpacked::default()).iter() {
            files.push(file.iter().map(|extent| extent.moved_by(image.len())));
        }
        Ok((Self { unpacked, medium, absent: Vec::new() }, files))
    }

    /// Unpacks the files of an image that an index tells of, once more. Where those stand that the `release` has, and
    /// of which no other one is likely to be made, nothing is unpacked: these places are [absent](Self::absent).
    ///
    /// # Errors
    /// What reading, unpacking and writing report; [`io::ErrorKind::InvalidData`] where the image is another one, the
    /// index does not tell what a file holds that is not known, or it tells of a file as packed that the release has
    /// as it is.
    pub fn of_index(image: &Medium, folder: &Path, index: &Index, release: &Index) -> io::Result<Self> {
        let unpacked = &index.unpacked;
        let plain = Plain::of(Some(release));
        for (extents, digest) in unpacked.files.iter().zip(&unpacked.digests) {
            if plain.has(image, extents, *digest, index.hash)? {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        drop(plain);
        let lens = unpacked.digests.iter().zip(&unpacked.files).map(|(digest, file)| (*digest, len_of(file)));
        let unwanted = unwanted(lens, &release.unpacked);
        let mut out = BufWriter::new(tempfile::tempfile_in(folder)?);
        let mut absent = Vec::new();
        let files = unpacked.files.iter().zip(&unpacked.digests).zip(unpacked.places());
        for ((extents, digest), place) in files {
            if unwanted.contains(digest) {
                if digest_at(image, extents, index.hash)? != *digest {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                out.seek(io::SeekFrom::Start(place.end()))?;
                absent.extend((place.len > 0).then(|| place.moved_by(index.len)));
                continue;
            }
            let file = PackedFile::open(image, extents.clone()).ok_or(io::ErrorKind::InvalidData)?;
            if place.len == 0 || file.unpack(image, place.offset, place.len, &mut out)?.len != place.len {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.set_len(unpacked.len())?;
        Ok(Self { unpacked: unpacked.clone(), medium: Medium::new(file)?, absent })
    }

    /// Room in `folder` for what the packed files of a payload are made of.
    ///
    /// # Errors
    /// What the system reports.
    pub fn room(unpacked: &Unpacked, folder: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(folder)?;
        file.set_len(unpacked.len())?;
        Ok(Self { unpacked: unpacked.clone(), medium: Medium::new(file)?, absent: Vec::new() })
    }

    /// Where nothing stands, though an index tells of it: places behind the image, in order.
    pub fn absent(&self) -> &[Extent] {
        &self.absent
    }

    /// Where in the payload, behind its `len` bytes, nothing is needed to pack files that are not `made`: places in
    /// order.
    ///
    /// # Errors
    /// [`ApplyError`] where the patch that tells how cannot be used.
    pub fn unneeded(&self, len: u64, made: &[bool]) -> Result<Vec<Extent>, ApplyError> {
        let all = self.unpacked.len();
        if self.unpacked.packing.is_empty() {
            return Ok(Vec::new());
        }
        let needed = needed(&self.unpacked, &|file| made.get(file).is_some_and(|&is_made| is_made))?;
        Ok(gaps(&needed, all).into_iter().map(|gap| gap.moved_by(len)).collect())
    }

    /// The contents behind their image.
    pub fn behind<'a, T: ReadAt + ?Sized>(&'a self, image: &'a T) -> Behind<&'a T, &'a Medium> {
        Behind::new(image, &self.medium)
    }

    /// Copies the packed files that an old image has to where they stand in the payload; answers for each whether
    /// it was copied and is what it should be. What is told of the old image is not believed, its bytes are hashed.
    /// What cannot be read or written is left to [`Self::pack`], which reports it.
    pub fn copy_packed(
        &self,
        (old, old_image): (&Unpacked, &dyn ReadAt),
        target: &dyn Target,
        hash: HashKind,
    ) -> Vec<bool> {
        let by_digest: HashMap<RunDigest, &Vec<Extent>> =
            old.digests.iter().copied().zip(&old.files).collect();
        let copy = |(extents, digest): (&Vec<Extent>, &RunDigest)| {
            let Some(old_extents) = by_digest.get(digest) else { return false };
            let from = Gathered::new(old_image, old_extents);
            let to = Scatter::new(target, extents.iter().copied());
            if from.len() != to.len() {
                return false;
            }
            let copied = digest_of(&from, hash, &mut |at, bytes| to.write_at(at, bytes));
            copied.is_ok_and(|found| found == *digest)
        };
        self.unpacked.files.iter().zip(&self.unpacked.digests).map(copy).collect()
    }

    /// How much memory packing takes, in bytes.
    ///
    /// # Errors
    /// [`ApplyError`] where the patch that tells how cannot be used.
    pub fn packing_memory_bytes(unpacked: &Unpacked) -> Result<u64, ApplyError> {
        if unpacked.packing.is_empty() {
            return Ok(0);
        }
        Ok(Patch::open(&unpacked.packing)?.header.apply_memory_bytes)
    }

    /// Packs the contents to where they stand in the payload, but for files that are `made` already. Whether it is
    /// right then is for the payload's digest to tell.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub fn pack(
        &self,
        target: &dyn Target,
        made: &[bool],
        folder: &Path,
        progress: &dyn Fn(u64) -> bool,
    ) -> Result<(), ApplyError> {
        let is_made = |file: usize| made.get(file).is_some_and(|&is_made| is_made);
        if self.unpacked.packing.is_empty() || (0..self.unpacked.files.len()).all(is_made) {
            return Ok(());
        }
        let place = |(file, extents): (usize, &Vec<Extent>)| Place {
            bytes: Scatter::new(target, extents.iter().copied()),
            is_made: is_made(file),
        };
        let places: Vec<Place<'_>> = self.unpacked.files.iter().enumerate().map(place).collect();
        let targets: Vec<&dyn Target> = places.iter().map(|place| place as &dyn Target).collect();
        let mut observer = Advancing { progress };
        let patch = Patch::open(&self.unpacked.packing)?;
        patch.apply(
            &[&self.medium],
            &targets,
            &DiskScratch::new(folder),
            Checkpoint::default(),
            &mut observer,
        )
    }

    /// The contents by themselves.
    pub fn medium(&self) -> &Medium {
        &self.medium
    }
}

/// Files that a release has as they stand, though they might be unpacked.
struct Plain<'a> {
    files: Guide<'a>,
    /// Those that it has unpacked. It may have them as they stand, too: modules in an initial RAM disk.
    unpacked: HashSet<RunDigest>,
}

impl<'a> Plain<'a> {
    fn of(release: Option<&'a Index>) -> Self {
        let unpacked = release.into_iter().flat_map(|release| release.unpacked.digests.iter().copied());
        Self { files: Guide::new(release), unpacked: unpacked.collect() }
    }

    /// Whether a file of an image is such a file.
    fn has(&self, image: &Medium, extents: &[Extent], digest: RunDigest, hash: HashKind) -> io::Result<bool> {
        Ok(!self.unpacked.contains(&digest) && self.files.knows(&Gathered::new(image, extents), hash)?)
    }
}

/// Takes back what was written of a file that did not unpack.
fn begin_again(out: BufWriter<File>, len: u64) -> io::Result<BufWriter<File>> {
    let (mut file, written) = out.into_parts();
    if let Ok(written) = written {
        // What stands in the buffer may be of files before.
        file.write_all(&written)?;
    }
    file.set_len(len)?;
    file.seek(io::SeekFrom::Start(len))?;
    Ok(BufWriter::new(file))
}

fn len_of(extents: &[Extent]) -> u64 {
    extents.iter().map(|extent| extent.len).sum()
}

/// Which of the packed files that a device has, told by digests and lengths, need not be unpacked: those that a release
/// has as they are, unless the packing of others reads what they hold. But a file of the release that is new, and not
/// another version of one that it has no more, as the lengths tell, may be made of one that stays: a second kernel of
/// the first.
fn unwanted(old: impl Iterator<Item = (RunDigest, u64)>, release: &Unpacked) -> HashSet<RunDigest> {
    let known: HashSet<RunDigest> = release.digests.iter().copied().collect();
    let (stay, gone): (Vec<_>, Vec<_>) = old.partition(|(digest, _)| known.contains(digest));
    let mut unwanted: HashMap<RunDigest, u64> = stay.into_iter().collect();
    // Whoever cannot read it will say so when it is used.
    let is_made = |file: usize| release.digests.get(file).is_some_and(|digest| unwanted.contains_key(digest));
    let needed = needed(release, &is_made).unwrap_or_default();
    let mut gone: Vec<u64> = gone.into_iter().map(|(_, len)| len).collect();
    gone.sort_unstable();
    let files = release.digests.iter().zip(&release.files);
    let mut new: Vec<u64> =
        files.filter(|(digest, _)| !unwanted.contains_key(digest)).map(|(_, file)| len_of(file)).collect();
    new.sort_unstable();
    for (digest, place) in release.digests.iter().zip(release.places()) {
        if overlaps(&needed, &place) {
            unwanted.remove(digest);
        }
    }
    // Each has the shortest one that is long enough, if there is any.
    let mut gone = gone.into_iter().peekable();
    let has_none = |len: &u64| {
        while gone.next_if(|one| *one < len - len / 4).is_some() {}
        gone.next_if(|one| *one <= len + len / 4).is_none()
    };
    let alone: Vec<u64> = new.into_iter().filter(has_none).collect();
    unwanted.retain(|_, one| {
        let next = alone.partition_point(|len| *len < *one / 2);
        alone.get(next).is_none_or(|len| len / 2 > *one)
    });
    unwanted.into_keys().collect()
}

/// What is read of the contents to pack the files that are not made; in order, without overlaps.
fn needed(unpacked: &Unpacked, is_made: &dyn Fn(usize) -> bool) -> Result<Vec<Extent>, ApplyError> {
    if unpacked.packing.is_empty() {
        return Ok(Vec::new());
    }
    Patch::open(&unpacked.packing)?.source_reads(|file| !is_made(file))
}

/// The files that are not packed, as they are cut: those that are no streams for that in pieces.
fn cut_files(files: &Files, unpacked: &Unpacked) -> Files {
    let mut packed: Vec<Extent> = unpacked.files.iter().flatten().copied().collect();
    packed.sort_unstable();
    let mut list: Vec<&[Extent]> = Vec::with_capacity(files.len());
    for file in files.iter().filter(|file| !file.iter().any(|extent| overlaps(&packed, extent))) {
        if is_one(file) {
            list.push(file);
        } else {
            list.extend(file.chunks(1).filter(|piece| !piece[0].is_hole()));
        }
    }
    list.sort_unstable_by_key(|file| file[0].offset);
    list.into_iter().collect()
}

/// Whether an extent stands in one of these.
fn overlaps(packed: &[Extent], one: &Extent) -> bool {
    let next = packed.partition_point(|extent| extent.end() <= one.offset);
    packed.get(next).is_some_and(|extent| extent.offset < one.end())
}

/// Where a packed file goes.
struct Place<'a> {
    bytes: Scatter<&'a dyn Target>,
    is_made: bool,
}

impl ReadAt for Place<'_> {
    fn len(&self) -> u64 {
        self.bytes.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.bytes.read_at(offset, buf)
    }
}

impl Target for Place<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.bytes.write_at(offset, bytes)
    }

    fn is_made(&self) -> bool {
        self.is_made
    }
}

/// The digest of what stands in these extents.
fn digest_at(image: &Medium, extents: &[Extent], hash: HashKind) -> io::Result<RunDigest> {
    digest_of(&Gathered::new(image, extents), hash, &mut |_, _| Ok(()))
}

/// The digest of a stream, whose bytes `take` gets too, with their offsets.
fn digest_of(
    stream: &dyn ReadAt,
    hash: HashKind,
    take: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<RunDigest> {
    let mut hasher = hash.hasher();
    let mut at = 0;
    let mut buf = vec![0; STEP_BYTES.min(stream.len() as usize)];
    while at < stream.len() {
        let step = (stream.len() - at).min(buf.len() as u64) as usize;
        stream.read_at(at, &mut buf[..step])?;
        hasher.update(&buf[..step]);
        take(at, &buf[..step])?;
        at += step as u64;
    }
    Ok(RunDigest::of_all(hasher))
}

struct Advancing<'a> {
    progress: &'a dyn Fn(u64) -> bool,
}

impl ApplyObserver for Advancing<'_> {
    fn made(&mut self, bytes: u64) -> bool {
        (self.progress)(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use fluvial_bundle::{Cutting, Payload, Survey, index_of};
    use fluvial_delta::diff::{DiffOptions, Named, Unobserved, diff};
    use fluvial_delta::memory::MemoryTarget;
    use fluvial_delta::scratch::MemoryScratch;
    use fluvial_image::Anatomist;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("content");
        fs::write(&path, content).unwrap();
        Command::new("gzip").arg("-nc").arg(&path).output().unwrap().stdout
    }

    fn content(seed: u64) -> Vec<u8> {
        let mut state = seed;
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("{:08x}", state >> 32).into_bytes()
        };
        (0..20_000).flat_map(next).collect()
    }

    /// An ext4 image of these files, 4 MiB long.
    fn image(files: &[Vec<u8>], folder: &Path) -> Medium {
        let (tree, path) = (folder.join("tree"), folder.join("image"));
        fs::create_dir(&tree).unwrap();
        for (number, file) in files.iter().enumerate() {
            fs::write(tree.join(number.to_string()), file).unwrap();
        }
        File::create(&path).unwrap().set_len(4 << 20).unwrap();
        let mut command = Command::new("mkfs.ext4");
        command.args(["-q", "-F", "-b", "4096", "-O", "^has_journal", "-d"]).arg(&tree).arg(&path);
        assert!(command.status().unwrap().success());
        Medium::open(&path).unwrap()
    }

    fn read(stream: &dyn ReadAt) -> Vec<u8> {
        let mut bytes = vec![0; stream.len() as usize];
        stream.read_at(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_begins_like_a_packed_file_and_does_not_unpack_stays_as_it_is() {
        let contents = [1, 2, 3].map(content);
        let packed = contents.clone().map(|content| gzip(&content));
        // What comes of its start has to be taken back.
        let mut damaged = gzip(&content(4));
        let half = damaged.len() / 2;
        damaged[half..].fill(0xff);
        let [first, second, third] = packed.clone();
        let folder = tempfile::tempdir().unwrap();
        let image = image(&[first, damaged.clone(), second, damaged.clone(), third], folder.path());

        for memory_bytes in [None, Some(64 << 20)] {
            let (found, files) =
                Contents::find(&image, folder.path(), memory_bytes, HashKind::Blake3, None).unwrap();
            let mut expected = Vec::new();
            for extents in &found.unpacked.files {
                let file = read(&Gathered::new(&image, extents));
                let number = packed.iter().position(|packed| *packed == file);
                expected.extend_from_slice(&contents[number.expect("a file that unpacks")]);
            }
            assert_eq!(found.unpacked.files.len(), 3, "all that unpack are unpacked");
            assert_eq!(found.unpacked.len(), expected.len() as u64);
            assert!(read(found.medium()) == expected);
            // Damaged files are cut as they stand in the image, the others as what they hold.
            let (inside, behind): (Vec<Extent>, Vec<Extent>) =
                files.stored().partition(|file| file.offset < image.len());
            assert_eq!(behind.iter().map(|file| file.len).sum::<u64>(), found.unpacked.len());
            // Files may stand in pieces, and have padding: their starts tell.
            let starts_like = |packed: &Vec<u8>| {
                let head = |file: &Extent| {
                    let mut head = vec![0; 4096];
                    image.read_at(file.offset, &mut head).unwrap();
                    head
                };
                inside.iter().filter(|file| head(file) == packed[..4096]).count()
            };
            assert_eq!(starts_like(&damaged), 2);
            assert_eq!(packed.iter().map(starts_like).sum::<usize>(), 0);
        }
    }

    #[test]
    fn packed_files_that_an_old_image_has_are_copied_and_the_others_packed() {
        let contents = [1, 2, 3].map(content);
        let folder = tempfile::tempdir().unwrap();
        let (old_folder, new_folder) = (folder.path().join("old"), folder.path().join("new"));
        fs::create_dir(&old_folder).unwrap();
        fs::create_dir(&new_folder).unwrap();
        let packed = contents.clone().map(|content| gzip(&content));
        let old_image = image(&packed[..2], &old_folder);
        let new_image = image(&packed[1..], &new_folder);
        let hash = HashKind::Blake3;
        let (old, _) = Contents::find(&old_image, folder.path(), None, hash, None).unwrap();
        let (mut new, _) = Contents::find(&new_image, folder.path(), None, hash, None).unwrap();
        new.unpacked.packing = packing(&new, &new_image);

        let target = MemoryTarget::new(new_image.len() as usize);
        let made = new.copy_packed((&old.unpacked, &old_image), &target, hash);
        let is_second = |file: &Vec<Extent>| read(&Gathered::new(&new_image, file)) == packed[1];
        assert_eq!(made, new.unpacked.files.iter().map(is_second).collect::<Vec<bool>>());
        assert_eq!(made.iter().filter(|&&is_made| is_made).count(), 1);
        // What is made is not touched any more.
        let (kept, other) = if made[0] { (0, 1) } else { (1, 0) };
        let kept_at = new.unpacked.files[kept][0].offset;
        target.write_at(kept_at, b"as it was").unwrap();
        new.pack(&target, &made, folder.path(), &|_| true).unwrap();
        assert!(read(&Gathered::new(&target, &new.unpacked.files[other])) == packed[2]);
        assert_eq!(read(&Gathered::new(&target, &[Extent { offset: kept_at, len: 9 }])), b"as it was");

        // An old image that is not what was told of it has nothing.
        let mut wrong = read(&old_image);
        for byte in &mut wrong {
            *byte ^= 1;
        }
        let made = new.copy_packed((&old.unpacked, &wrong), &target, hash);
        assert_eq!(made, [false, false]);
        let short = vec![0; 1000];
        assert_eq!(new.copy_packed((&old.unpacked, &short), &target, hash), [false, false]);
    }

    #[test]
    fn packed_files_that_are_known_are_not_unpacked() {
        let packed = [1, 2, 3].map(|seed| gzip(&content(seed)));
        let folder = tempfile::tempdir().unwrap();
        let image = image(&packed, folder.path());
        let hash = HashKind::Blake3;
        let (all, files) = Contents::find(&image, folder.path(), None, hash, None).unwrap();
        let nothing = index_of_file(&[]);
        let mut known = nothing.clone();
        known.unpacked.files.push(all.unpacked.files[1].clone());
        known.unpacked.digests.push(all.unpacked.digests[1]);
        let [_, second, third] = all.unpacked.places().collect::<Vec<_>>()[..] else { panic!("three files") };
        let bytes = read(all.medium());
        let place = |place: Extent| place.offset as usize..place.end() as usize;

        // Where nothing is known, nothing is told of what it holds.
        let (some, _) = Contents::find(&image, folder.path(), None, hash, Some(&known)).unwrap();
        assert_eq!(
            (&some.unpacked.files, &some.unpacked.digests),
            (&all.unpacked.files, &all.unpacked.digests)
        );
        assert_eq!(some.unpacked.lens, [second.offset, 0, third.len]);
        assert!(read(some.medium()) == [&bytes[..place(second).start], &bytes[place(third)]].concat());
        assert!(some.absent().is_empty());

        // Where an index tells, it stands where the index tells, but for what is known.
        let index = index_with((&image, &all), &files);
        let here = Contents::of_index(&image, folder.path(), &index, &known).unwrap();
        assert_eq!((&here.unpacked, here.absent()), (&all.unpacked, &[second.moved_by(image.len())][..]));
        let mut expected = bytes.clone();
        expected[place(second)].fill(0);
        assert!(read(here.medium()) == expected);
        let here = Contents::of_index(&image, folder.path(), &index, &nothing).unwrap();
        assert!(read(here.medium()) == bytes && here.absent().is_empty());

        // An index that leaves something out is not for those who do not know that.
        let index = index_with((&image, &some), &Files::new());
        assert!(Contents::of_index(&image, folder.path(), &index, &known).is_ok());
        let refused = |image: &Medium, known: &Index| {
            Contents::of_index(image, folder.path(), &index, known).unwrap_err().kind()
        };
        assert_eq!(refused(&image, &nothing), io::ErrorKind::InvalidData);
        // What is known is looked at.
        let path = folder.path().join("image");
        let mut changed = fs::read(&path).unwrap();
        let at = all.unpacked.files[1][0].offset as usize;
        changed[at + 5000] ^= 1;
        fs::write(&path, changed).unwrap();
        assert_eq!(refused(&Medium::open(&path).unwrap(), &known), io::ErrorKind::InvalidData);
    }

    #[test]
    fn packed_files_that_a_release_has_as_they_are_stay_packed() {
        let packed = [1, 2, 3].map(|seed| gzip(&content(seed)));
        let folder = tempfile::tempdir().unwrap();
        let image = image(&packed, folder.path());
        let hash = HashKind::Blake3;
        let (all, all_files) = Contents::find(&image, folder.path(), None, hash, None).unwrap();
        let index = index_with((&image, &all), &all_files);
        let second = &all.unpacked.files[1];
        let mut bytes = read(&Gathered::new(&image, second));

        let release = index_of_file(&bytes);
        let (some, files) = Contents::find(&image, folder.path(), None, hash, Some(&release)).unwrap();
        assert_eq!(some.unpacked.files, [all.unpacked.files[0].clone(), all.unpacked.files[2].clone()]);
        assert!(files.iter().any(|file| file == second));
        let kept = Contents::of_index(&image, folder.path(), &index, &release);
        assert_eq!(kept.unwrap_err().kind(), io::ErrorKind::InvalidData);

        // One that it has unpacked as well is unpacked here, too: it is copied then.
        let mut both = release.clone();
        both.unpacked.files.push(second.clone());
        both.unpacked.digests.push(all.unpacked.digests[1]);
        let (found, _) = Contents::find(&image, folder.path(), None, hash, Some(&both)).unwrap();
        assert_eq!(found.unpacked.digests, all.unpacked.digests);
        assert!(Contents::of_index(&image, folder.path(), &index, &both).is_ok());

        // One that is only as long is another one.
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let release = index_of_file(&bytes);
        let (found, files) = Contents::find(&image, folder.path(), None, hash, Some(&release)).unwrap();
        assert_eq!((found.unpacked, files), (all.unpacked, all_files));
        assert!(Contents::of_index(&image, folder.path(), &index, &release).is_ok());
    }

    #[test]
    fn what_stays_is_wanted_where_a_new_file_may_be_made_of_it() {
        let file = |number: u8, len| (RunDigest([number; 12]), len);
        let release = |files: &[(RunDigest, u64)]| Unpacked {
            files: files.iter().map(|(_, len)| vec![Extent { offset: 0, len: *len }]).collect(),
            digests: files.iter().map(|(digest, _)| *digest).collect(),
            ..Unpacked::default()
        };
        let [kernel, disk, text] = [file(1, 8000), file(2, 30_000), file(3, 50)];
        let unwanted_of = |new: &[(RunDigest, u64)]| {
            let mut list: Vec<u8> = unwanted([kernel, disk, text].into_iter(), &release(new))
                .iter()
                .map(|one| one.0[0])
                .collect();
            list.sort_unstable();
            list
        };
        assert_eq!(unwanted_of(&[kernel, disk, text]), [1, 2, 3]);
        // Another version of one that is gone.
        assert_eq!(unwanted_of(&[kernel, disk, file(4, 52)]), [1, 2]);
        // A second one.
        assert_eq!(unwanted_of(&[kernel, disk, text, file(4, 8100)]), [2, 3]);
        assert_eq!(unwanted_of(&[kernel, disk, text, file(4, 8100), file(5, 31_000)]), [3]);
        assert_eq!(unwanted_of(&[kernel, disk, file(4, 8100), file(5, 52)]), [2]);
        assert!(unwanted_of(&[]).is_empty());
    }

    #[test]
    fn what_packing_does_not_read_is_not_needed() {
        let contents = [1, 2, 3].map(content);
        let folder = tempfile::tempdir().unwrap();
        let image = image(&contents.clone().map(|content| gzip(&content)), folder.path());
        let (mut new, _) = Contents::find(&image, folder.path(), None, HashKind::Blake3, None).unwrap();
        assert!(new.unneeded(image.len(), &[true; 3]).unwrap().is_empty(), "nobody knows");
        new.unpacked.packing = packing(&new, &image);
        let all = Extent { offset: image.len(), len: new.unpacked.len() };
        assert_eq!(new.unneeded(image.len(), &[true; 3]).unwrap(), [all]);
        assert_eq!(new.unneeded(image.len(), &[]).unwrap(), []);
        let places: Vec<Extent> = new.unpacked.places().map(|place| place.moved_by(image.len())).collect();
        let some = new.unneeded(image.len(), &[false, true, false]).unwrap();
        assert_eq!(some, [places[1]]);

        // What stays is unpacked where others are packed of what it holds: here the second of what the first one does.
        let packed_lens: Vec<u64> = new.unpacked.files.iter().map(|file| len_of(file)).collect();
        let old = |number: usize| match number {
            0 => (new.unpacked.digests[0], packed_lens[0]),
            _ => (RunDigest([9; 12]), packed_lens[number]),
        };
        let unwanted_of = |release: &Unpacked| unwanted((0..3).map(old), release).len();
        assert_eq!(unwanted_of(&new.unpacked), 1);
        let lens = vec![places[0].len + places[1].len, 0, places[2].len];
        assert_eq!(unwanted_of(&Unpacked { lens, ..new.unpacked.clone() }), 0);
    }

    /// The index of an image of which the contents and files are known.
    fn index_with((image, contents): (&Medium, &Contents), files: &Files) -> Index {
        let (bytes, unpacked) = (contents.behind(image), Some(&contents.unpacked));
        index_of_payload(Payload { name: "slot", sha256: [0; 32], bytes: &bytes, files, unpacked })
    }

    fn index_of_payload(payload: Payload<'_>) -> Index {
        let survey = Survey::plain(Cutting::Files, HashKind::Blake3);
        index_of(payload, &survey, &|_, _| {}, &|_| true).unwrap().0
    }

    /// The index of a release that has this file and nothing else.
    fn index_of_file(bytes: &[u8]) -> Index {
        let files: Files = [Extent { offset: 0, len: bytes.len() as u64 }].into_iter().collect();
        let (bytes, none) = (bytes.to_vec(), Files::new());
        let files = if bytes.is_empty() { &none } else { &files };
        index_of_payload(Payload { name: "slot", sha256: [0; 32], bytes: &bytes, files, unpacked: None })
    }

    /// The patch that makes the packed files of an image.
    fn packing(contents: &Contents, image: &Medium) -> Vec<u8> {
        let files: Vec<Gathered<'_>> =
            contents.unpacked.files.iter().map(|extents| Gathered::new(image, extents)).collect();
        let targets: Vec<Named<'_>> = files.iter().map(|file| Named::new("file", file)).collect();
        let (old, mut patch) = ([Named::new("contents", contents.medium())], Vec::new());
        let options = DiffOptions::default();
        diff(&old, &targets, &Anatomist, &MemoryScratch, &options, &Unobserved, &mut patch).unwrap();
        patch
    }
}
