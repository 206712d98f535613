//! `sw-description`: what a package installs, and where.
//!
//! The text is libconfig's (its manual, "Configuration Files"); what the settings mean is in `SWUpdate`'s manual,
//! "Syntax and tags with the default parser". The text is read by own code ([`libconfig`]): of the
//! crates, `libconfig` was left years ago, and `libconfig-rs` knows no comments and no limits.
//!
//! Settings stand in sections: `software` itself, and below it a board's, a software set's with its modes
//! (`software.stable.copy2`), or both. A device looks for each list in the section that fits it best
//! ([`Description::lists_for`]).

mod error;
pub mod libconfig;
mod read;
mod write;

pub use error::DescriptionError;

/// What a package says about itself and what it installs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// The version that it installs.
    pub version: String,
    /// The name of the software; may be empty.
    pub name: String,
    /// For people; may be empty.
    pub text: String,
    /// What is installed, in the order of the text. Each has a path of its own.
    pub sections: Vec<Section>,
}

/// What stands at one place below `software`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// The names of the groups that lead to it: none, a board's, a software set's and a mode's, or all three.
    pub path: Vec<String>,
    /// Revisions of the hardware that it fits.
    pub hardware: Vec<String>,
    /// What goes to devices.
    pub images: Vec<Image>,
    /// What goes into file systems. Written by others only.
    pub files: Vec<Image>,
    /// What is run, in order.
    pub scripts: Vec<Script>,
    /// Variables that the boot loader is told after everything else.
    pub bootenv: Vec<Variable>,
}

/// A file of the package that goes somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The name of the file in the archive.
    pub filename: String,
    /// Its name for people, and for `/etc/sw-versions`; may be empty.
    pub name: String,
    /// Its version; may be empty.
    pub version: String,
    /// Which handler takes it.
    pub kind: ImageKind,
    /// The device or file that it is written to; may be empty.
    pub device: String,
    /// How it is packed.
    pub compression: Option<Compression>,
    /// The SHA-256 of the file as it stands in the archive.
    pub sha256: Option<[u8; 32]>,
    /// Whether it is written while the package is still arriving. Scripts have then not run yet.
    pub is_installed_directly: bool,
    /// Whatever the handler wants to know.
    pub properties: Vec<Property>,
}

/// Something that is run before or after images are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The name of the file in the archive; none for handlers that have no file.
    pub filename: Option<String>,
    /// Which handler takes it.
    pub kind: ScriptKind,
    /// The device that it looks at; may be empty.
    pub device: String,
    /// What it is called with; may be empty.
    pub data: String,
    /// The SHA-256 of the file.
    pub sha256: Option<[u8; 32]>,
    /// Whatever the handler wants to know.
    pub properties: Vec<Property>,
}

/// A setting for a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// One value, rarely more.
    pub values: Vec<String>,
}

/// A variable of the boot loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value. Nothing unsets it.
    pub value: String,
}

/// The handler of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageKind {
    /// `raw`: written as it is.
    Raw,
    /// `rdiff_image`: a delta of librsync from the property `rdiffbase`.
    RdiffImage,
    /// `archive`: unpacked into a file system.
    Archive,
    /// Any other; empty where the text says nothing.
    Other(String),
}

/// The handler of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptKind {
    /// `shellscript`: called with `preinst` before, `postinst` after.
    Shell,
    /// `lua`.
    Lua,
    /// `readback`: reads a device and compares its SHA-256, after images were written.
    Readback,
    /// Any other.
    Other(String),
}

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip, which the text calls `zlib`.
    Zlib,
    /// Zstandard.
    Zstd,
}

/// Which sections a device looks into: what `-H` and `-e` tell `SWUpdate`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceChoice {
    /// The name of the board.
    pub board: Option<String>,
    /// Software set and mode, as in `-e stable,copy2`.
    pub set_and_mode: Option<(String, String)>,
}

/// The lists that hold for one device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lists<'a> {
    /// See [`Section::hardware`].
    pub hardware: &'a [String],
    /// See [`Section::images`].
    pub images: &'a [Image],
    /// See [`Section::files`].
    pub files: &'a [Image],
    /// See [`Section::scripts`].
    pub scripts: &'a [Script],
    /// See [`Section::bootenv`].
    pub bootenv: &'a [Variable],
}

impl Description {
    /// The lists that `SWUpdate` takes on a device, each from the first section that has it: with board, set and
    /// mode; with set and mode; with the board; without any.
    pub fn lists_for(&self, device: &DeviceChoice) -> Lists<'_> {
        let mut paths: Vec<Vec<&str>> = Vec::new();
        let board = device.board.as_deref();
        if let Some((set, mode)) = &device.set_and_mode {
            paths.extend(board.map(|board| vec![board, set, mode]));
            paths.push(vec![set, mode]);
        }
        paths.extend(board.map(|board| vec![board]));
        paths.push(Vec::new());
        let sections = || paths.iter().filter_map(|path| self.section(path));
        Lists {
            hardware: sections()
                .map(|section| &section.hardware[..])
                .find(|list| !list.is_empty())
                .unwrap_or(&[]),
            images: sections()
                .map(|section| &section.images[..])
                .find(|list| !list.is_empty())
                .unwrap_or(&[]),
            files: sections().map(|section| &section.files[..]).find(|list| !list.is_empty()).unwrap_or(&[]),
            scripts: sections()
                .map(|section| &section.scripts[..])
                .find(|list| !list.is_empty())
                .unwrap_or(&[]),
            bootenv: sections()
                .map(|section| &section.bootenv[..])
                .find(|list| !list.is_empty())
                .unwrap_or(&[]),
        }
    }

    /// The section at a path.
    pub fn section(&self, path: &[&str]) -> Option<&Section> {
        self.sections.iter().find(|section| section.path.iter().eq(path.iter()))
    }

    /// Every file that is named anywhere, with its SHA-256. A file may be named more than once.
    pub fn files(&self) -> impl Iterator<Item = (&str, Option<[u8; 32]>)> {
        self.sections.iter().flat_map(|section| {
            let images = section.images.iter().chain(&section.files);
            let images = images.map(|image| (&image.filename[..], image.sha256));
            let scripts = section.scripts.iter();
            images.chain(scripts.filter_map(|script| Some((script.filename.as_deref()?, script.sha256))))
        })
    }
}

impl Property {
    /// A property with one value.
    pub fn new(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.to_owned(), values: vec![value.into()] }
    }

    /// The value of one among many, if it has exactly one.
    pub fn find<'a>(properties: &'a [Self], name: &str) -> Option<&'a str> {
        let property = properties.iter().find(|property| property.name == name)?;
        if let [value] = &property.values[..] { Some(value) } else { None }
    }
}

impl ImageKind {
    /// As the text has it.
    pub fn name(&self) -> &str {
        match self {
            Self::Raw => "raw",
            Self::RdiffImage => "rdiff_image",
            Self::Archive => "archive",
            Self::Other(name) => name,
        }
    }

    fn from_name(name: String) -> Self {
        match &name[..] {
            "raw" => Self::Raw,
            "rdiff_image" => Self::RdiffImage,
            "archive" => Self::Archive,
            _ => Self::Other(name),
        }
    }
}

impl ScriptKind {
    /// As the text has it.
    pub fn name(&self) -> &str {
        match self {
            Self::Shell => "shellscript",
            Self::Lua => "lua",
            Self::Readback => "readback",
            Self::Other(name) => name,
        }
    }

    fn from_name(name: String) -> Self {
        match &name[..] {
            "shellscript" => Self::Shell,
            // Nothing is as good as no type (`parser.c` of SWUpdate).
            "lua" | "" => Self::Lua,
            "readback" => Self::Readback,
            _ => Self::Other(name),
        }
    }
}

impl Compression {
    /// As the text has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
        }
    }
}

#[cfg(test)]
mod tests;
