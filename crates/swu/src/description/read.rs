//! What a text says.

use super::libconfig::{self, Group, Value};
use super::{
    Compression, Description, DescriptionError, Image, ImageKind, Property, Script, ScriptKind, Section,
    Variable,
};

/// Names of groups that lead to a section at most: a board, a set, a mode.
const PATH_MAX: usize = 3;

impl Description {
    /// Reads a text. Settings that say nothing about what is installed are passed over.
    ///
    /// # Errors
    /// What is wrong with the text or with a setting; [`DescriptionError::Unsupported`] for links and embedded
    /// scripts, which could change anything.
    pub fn read(bytes: &[u8]) -> Result<Self, DescriptionError> {
        let root = libconfig::parse(bytes)?;
        let software = match root.get("software") {
            Some(Value::Group(group)) => Place { at: "software".into(), group },
            Some(_) => return Err(DescriptionError::Type { at: "software".into(), expected: "a group" }),
            None => return Err(DescriptionError::Missing { at: "software".into() }),
        };
        let mut sections = Vec::new();
        software.sections(&mut Vec::new(), &mut sections)?;
        Ok(Self {
            version: software.needed_text("version")?,
            name: software.text("name")?.unwrap_or_default(),
            text: software.text("description")?.unwrap_or_default(),
            sections,
        })
    }
}

/// A group, and where it stands.
struct Place<'a> {
    at: String,
    group: &'a Group,
}

impl<'a> Place<'a> {
    fn path(&self, name: &str) -> String {
        format!("{}.{name}", self.at)
    }

    fn wrong<T>(&self, name: &str, expected: &'static str) -> Result<T, DescriptionError> {
        Err(DescriptionError::Type { at: self.path(name), expected })
    }

    fn text(&self, name: &str) -> Result<Option<String>, DescriptionError> {
        match self.group.get(name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text.clone())),
            Some(_) => self.wrong(name, "a text"),
        }
    }

    fn needed_text(&self, name: &str) -> Result<String, DescriptionError> {
        self.text(name)?.ok_or_else(|| DescriptionError::Missing { at: self.path(name) })
    }

    fn texts(&self, name: &str) -> Result<Vec<String>, DescriptionError> {
        let Some(value) = self.group.get(name) else { return Ok(Vec::new()) };
        let text = |value: &Value| if let Value::Text(text) = value { Some(text.clone()) } else { None };
        let texts = value.elements().and_then(|elements| elements.iter().map(text).collect());
        texts.map_or_else(|| self.wrong(name, "a list of texts"), Ok)
    }

    /// Groups of a list, or the one that stands in its place.
    fn list(&self, name: &str) -> Result<Vec<Place<'a>>, DescriptionError> {
        let Some(value) = self.group.get(name) else { return Ok(Vec::new()) };
        let Some(elements) = value.elements() else { return self.wrong(name, "a list of groups") };
        let place = |(index, value): (usize, &'a Value)| match value {
            Value::Group(group) => {
                let place = Place { at: format!("{}[{index}]", self.path(name)), group };
                place.refuse(&["ref"])?;
                Ok(place)
            }
            _ => self.wrong(name, "a list of groups"),
        };
        elements.iter().enumerate().map(place).collect()
    }

    fn refuse(&self, names: &[&str]) -> Result<(), DescriptionError> {
        match names.iter().find(|name| self.group.get(name).is_some()) {
            Some(name) => Err(DescriptionError::Unsupported { at: self.path(name) }),
            None => Ok(()),
        }
    }

    /// The section here, if it says something, and those below it.
    fn sections(&self, path: &mut Vec<String>, sections: &mut Vec<Section>) -> Result<(), DescriptionError> {
        self.refuse(&["ref", "embedded-script"])?;
        let section = self.section(path.clone())?;
        if section != (Section { path: path.clone(), ..Section::default() }) {
            sections.push(section);
        }
        for (name, value) in &self.group.settings {
            let Value::Group(group) = value else { continue };
            let place = Place { at: self.path(name), group };
            if path.len() == PATH_MAX {
                return Err(DescriptionError::Unsupported { at: place.at });
            }
            path.push(name.clone());
            place.sections(path, sections)?;
            path.pop();
        }
        Ok(())
    }

    fn section(&self, path: Vec<String>) -> Result<Section, DescriptionError> {
        // The older name counts before the newer.
        let bootenv = if self.group.get("uboot").is_some() { "uboot" } else { "bootenv" };
        Ok(Section {
            path,
            hardware: self.texts("hardware-compatibility")?,
            images: self.list("images")?.iter().map(Place::image).collect::<Result<_, _>>()?,
            files: self.list("files")?.iter().map(Place::image).collect::<Result<_, _>>()?,
            scripts: self.list("scripts")?.iter().map(Place::script).collect::<Result<_, _>>()?,
            bootenv: self.list(bootenv)?.iter().map(Place::variable).collect::<Result<_, _>>()?,
        })
    }

    fn image(&self) -> Result<Image, DescriptionError> {
        let is_installed_directly = match self.group.get("installed-directly") {
            None => false,
            Some(Value::Boolean(is_so)) => *is_so,
            Some(_) => return self.wrong("installed-directly", "a boolean"),
        };
        let compression = match self.group.get("compressed") {
            None | Some(Value::Boolean(false)) => None,
            // As older texts say it.
            Some(Value::Boolean(true)) => Some(Compression::Zlib),
            Some(Value::Text(name)) if name == Compression::Zlib.name() => Some(Compression::Zlib),
            Some(Value::Text(name)) if name == Compression::Zstd.name() => Some(Compression::Zstd),
            Some(_) => return self.wrong("compressed", "zlib or zstd"),
        };
        Ok(Image {
            filename: self.needed_text("filename")?,
            name: self.text("name")?.unwrap_or_default(),
            version: self.text("version")?.unwrap_or_default(),
            kind: ImageKind::from_name(self.text("type")?.unwrap_or_default()),
            device: self.text("device")?.unwrap_or_default(),
            compression,
            sha256: self.sha256()?,
            is_installed_directly,
            properties: self.properties()?,
        })
    }

    fn script(&self) -> Result<Script, DescriptionError> {
        // Without a type it is run by Lua.
        let kind = self.text("type")?.unwrap_or_else(|| ScriptKind::Lua.name().to_owned());
        Ok(Script {
            filename: self.text("filename")?,
            kind: ScriptKind::from_name(kind),
            device: self.text("device")?.unwrap_or_default(),
            data: self.text("data")?.unwrap_or_default(),
            sha256: self.sha256()?,
            properties: self.properties()?,
        })
    }

    fn variable(&self) -> Result<Variable, DescriptionError> {
        let value = self.text("value")?.unwrap_or_default();
        Ok(Variable { name: self.needed_text("name")?, value })
    }

    fn sha256(&self) -> Result<Option<[u8; 32]>, DescriptionError> {
        let Some(digits) = self.text("sha256")? else { return Ok(None) };
        let mut digest = [0; 32];
        if hex::decode_to_slice(&digits, &mut digest).is_err() {
            return self.wrong("sha256", "64 hexadecimal digits");
        }
        Ok(Some(digest))
    }

    fn properties(&self) -> Result<Vec<Property>, DescriptionError> {
        let place = match self.group.get("properties") {
            None => return Ok(Vec::new()),
            Some(Value::Group(group)) => Place { at: self.path("properties"), group },
            Some(_) => return self.wrong("properties", "a group"),
        };
        let property = |(name, value): &(String, Value)| {
            let values =
                if let Value::Text(text) = value { vec![text.clone()] } else { place.texts(name)? };
            Ok(Property { name: name.clone(), values })
        };
        place.group.settings.iter().map(property).collect()
    }
}
