//! What is packed in an image, unpacked beside it.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, Write as _};
use std::path::Path;

use fluvial_bundle::limits::{PACKED_EXTENTS_MAX, PACKED_FILES_MAX, UNPACKED_BYTES_MAX};
use fluvial_bundle::{Behind, Index, Scatter, Unpacked};
use fluvial_delta::apply::{ApplyError, ApplyObserver, Checkpoint, Patch, Target};
use fluvial_delta::structure::{Extent, ReadAt};
use fluvial_image::{PackedFile, content_files, file_extents, packed_files};

use super::medium::Medium;
use super::scratch::DiskScratch;

/// The contents of an image's packed files, in temporary storage.
#[derive(Debug)]
pub struct Contents {
    /// Which files they are of, and how long they are. Nothing is told of packing.
    pub unpacked: Unpacked,
    medium: Medium,
}

impl Contents {
    /// Unpacks what is packed in an image to `folder`; answers that, and where the files stand that are cut, in the
    /// image and behind it. With `packing_memory_bytes`, only what can be packed again in so much memory. What does
    /// not unpack stays as it is.
    ///
    /// # Errors
    /// What reading the image and writing to the folder report.
    pub fn find(
        image: &Medium,
        folder: &Path,
        packing_memory_bytes: Option<u64>,
    ) -> io::Result<(Self, Vec<Extent>)> {
        let mut out = BufWriter::new(tempfile::tempfile_in(folder)?);
        let (mut unpacked, mut streams) = (Unpacked::default(), Vec::new());
        for file in packed_files(image).into_iter().filter(|file| file.extents.len() <= PACKED_EXTENTS_MAX) {
            if unpacked.files.len() == PACKED_FILES_MAX {
                break;
            }
            if let Some(memory_bytes) = packing_memory_bytes
                && !file.can_be_packed(image, memory_bytes)?
            {
                continue;
            }
            match file.unpack(image, unpacked.len, UNPACKED_BYTES_MAX - unpacked.len, &mut out) {
                Ok(contents) => {
                    unpacked.len += contents.len;
                    streams.extend(contents.streams);
                    unpacked.files.push(file.extents);
                }
                // A full disk is no fault of the file's.
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Err(error),
                Err(_) => out = begin_again(out, unpacked.len)?,
            }
        }
        let medium = Medium::new(out.into_inner().map_err(io::IntoInnerError::into_error)?)?;
        let mut files = file_extents(image);
        let starts: Vec<u64> = unpacked.files.iter().map(|extents| extents[0].offset).collect();
        let mut packed: Vec<Extent> = unpacked.files.iter().flatten().copied().collect();
        packed.sort_unstable();
        files.retain(|file| !starts.contains(&file.offset) && !overlaps(&packed, file));
        let shifted = |file: Extent| Extent { offset: image.len() + file.offset, len: file.len };
        files.extend(content_files(&medium, &streams).into_iter().map(shifted));
        Ok((Self { unpacked, medium }, files))
    }

    /// Unpacks the files of an image that an index tells of, once more.
    ///
    /// # Errors
    /// What reading, unpacking and writing report; [`io::ErrorKind::InvalidData`] where the image is another one.
    pub fn of_index(image: &Medium, folder: &Path, index: &Index) -> io::Result<Self> {
        let mut out = BufWriter::new(tempfile::tempfile_in(folder)?);
        let mut len = 0;
        for extents in &index.unpacked.files {
            let file = PackedFile::open(image, extents.clone()).ok_or(io::ErrorKind::InvalidData)?;
            len += file.unpack(image, len, index.unpacked.len - len, &mut out)?.len;
        }
        if len != index.unpacked.len {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let medium = Medium::new(out.into_inner().map_err(io::IntoInnerError::into_error)?)?;
        Ok(Self { unpacked: index.unpacked.clone(), medium })
    }

    /// Room in `folder` for what the packed files of a payload are made of.
    ///
    /// # Errors
    /// What the system reports.
    pub fn room(unpacked: &Unpacked, folder: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(folder)?;
        file.set_len(unpacked.len)?;
        Ok(Self { unpacked: unpacked.clone(), medium: Medium::new(file)? })
    }

    /// The contents behind their image.
    pub fn behind<'a, T: ReadAt + ?Sized>(&'a self, image: &'a T) -> Behind<&'a T, &'a Medium> {
        Behind::new(image, &self.medium)
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

    /// Packs the contents to where they stand in the payload. Whether it is right then is for the payload's digest
    /// to tell.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub fn pack(
        &self,
        target: &dyn Target,
        folder: &Path,
        progress: &dyn Fn(u64) -> bool,
    ) -> Result<(), ApplyError> {
        if self.unpacked.packing.is_empty() {
            return Ok(());
        }
        let places: Vec<Scatter<&dyn Target>> =
            self.unpacked.files.iter().map(|extents| Scatter::new(target, extents.iter().copied())).collect();
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

/// Whether a file stands in one of these extents.
fn overlaps(packed: &[Extent], file: &Extent) -> bool {
    let next = packed.partition_point(|extent| extent.end() <= file.offset);
    packed.get(next).is_some_and(|extent| extent.offset < file.end())
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

    use fluvial_delta::structure::Gathered;

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
            let (found, files) = Contents::find(&image, folder.path(), memory_bytes).unwrap();
            let mut expected = Vec::new();
            for extents in &found.unpacked.files {
                let file = read(&Gathered::new(&image, extents));
                let number = packed.iter().position(|packed| *packed == file);
                expected.extend_from_slice(&contents[number.expect("a file that unpacks")]);
            }
            assert_eq!(found.unpacked.files.len(), 3, "all that unpack are unpacked");
            assert_eq!(found.unpacked.len, expected.len() as u64);
            assert!(read(found.medium()) == expected);
            // Damaged files are cut as they stand in the image, the others as what they hold.
            let (inside, behind): (Vec<Extent>, Vec<Extent>) =
                files.iter().partition(|file| file.offset < image.len());
            assert_eq!(behind.iter().map(|file| file.len).sum::<u64>(), found.unpacked.len);
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
}
