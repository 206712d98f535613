//! The text of a description.

use std::fmt::Write as _;

use super::{Description, DescriptionError, Image, Property, Script, Section, Variable};
use crate::limits::{DESCRIPTION_BYTES_MAX, TEXT_BYTES_MAX, VARIABLE_NAME_BYTES_MAX};

impl Description {
    /// Writes the text of libconfig.
    ///
    /// # Errors
    /// [`DescriptionError::Text`] for what some device would read otherwise, [`DescriptionError::SectionTwice`],
    /// and texts past their limit.
    pub fn to_text(&self) -> Result<String, DescriptionError> {
        let mut writer = Writer::default();
        writer.open("software = {");
        if self.version.is_empty() {
            return Err(DescriptionError::Text { what: "the version", reason: "it is empty" });
        }
        writer.text("version", &self.version, "the version")?;
        writer.text_unless_empty("name", &self.name, "the name of the software")?;
        writer.text_unless_empty("description", &self.text, "the text for people")?;
        self.check_paths()?;
        self.level(&mut writer, &mut Vec::new())?;
        writer.close("};");
        if writer.out.len() > DESCRIPTION_BYTES_MAX {
            return Err(DescriptionError::TooLong);
        }
        Ok(writer.out)
    }

    fn check_paths(&self) -> Result<(), DescriptionError> {
        let mut paths = std::collections::HashSet::new();
        for section in &self.sections {
            for name in &section.path {
                check_name(name)?;
            }
            if section.path.len() > 3 {
                return Err(DescriptionError::Text {
                    what: "the path of a section",
                    reason: "it is too long",
                });
            }
            if !paths.insert(&section.path) {
                return Err(DescriptionError::SectionTwice { path: section.path.join(".") });
            }
        }
        Ok(())
    }

    /// Writes the section at a path, and those below it.
    fn level<'a>(&'a self, writer: &mut Writer, path: &mut Vec<&'a str>) -> Result<(), DescriptionError> {
        if let Some(section) = self.section(path) {
            writer.section(section)?;
        }
        let mut names: Vec<&str> = Vec::new();
        for section in &self.sections {
            let is_below =
                section.path.len() > path.len() && section.path.iter().zip(&*path).all(|(a, b)| a == b);
            if is_below && !names.contains(&&section.path[path.len()][..]) {
                names.push(&section.path[path.len()]);
            }
        }
        for name in names {
            writer.open(&format!("{name} = {{"));
            path.push(name);
            self.level(writer, path)?;
            path.pop();
            writer.close("};");
        }
        Ok(())
    }
}

/// Names of settings that a section cannot have: the device would take it for something else.
const RESERVED: [&str; 12] = [
    "version",
    "name",
    "description",
    "hardware-compatibility",
    "images",
    "files",
    "scripts",
    "bootenv",
    "uboot",
    "partitions",
    "ref",
    "embedded-script",
];

fn check_name(name: &str) -> Result<(), DescriptionError> {
    let is_first = |byte: u8| byte.is_ascii_alphabetic();
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_name = name.bytes().next().is_some_and(is_first) && name.bytes().all(is_part);
    if !is_name || name.len() > TEXT_BYTES_MAX || RESERVED.contains(&name) {
        let reason = "it begins with a letter, and has letters, digits, - and _";
        return Err(DescriptionError::Text { what: "the name of a board, a software set or a mode", reason });
    }
    Ok(())
}

#[derive(Default)]
struct Writer {
    out: String,
    depth: usize,
}

impl Writer {
    fn line(&mut self, text: &str) {
        self.out.extend(std::iter::repeat_n("  ", self.depth));
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn open(&mut self, text: &str) {
        self.line(text);
        self.depth += 1;
    }

    fn close(&mut self, text: &str) {
        self.depth -= 1;
        self.line(text);
    }

    fn text(&mut self, name: &str, value: &str, what: &'static str) -> Result<(), DescriptionError> {
        let value = quoted(value, what)?;
        self.line(&format!("{name} = {value};"));
        Ok(())
    }

    fn text_unless_empty(
        &mut self,
        name: &str,
        value: &str,
        what: &'static str,
    ) -> Result<(), DescriptionError> {
        if value.is_empty() { Ok(()) } else { self.text(name, value, what) }
    }

    fn sha256(&mut self, digest: Option<[u8; 32]>) {
        if let Some(digest) = digest {
            self.line(&format!("sha256 = \"{}\";", hex::encode(digest)));
        }
    }

    /// Writes a list, if it has elements.
    fn list<T>(
        &mut self,
        name: &str,
        elements: &[T],
        mut each: impl FnMut(&mut Self, &T) -> Result<(), DescriptionError>,
    ) -> Result<(), DescriptionError> {
        if elements.is_empty() {
            return Ok(());
        }
        self.open(&format!("{name} = ("));
        for (index, element) in elements.iter().enumerate() {
            self.open("{");
            each(self, element)?;
            self.close(if index + 1 == elements.len() { "}" } else { "}," });
        }
        self.close(");");
        Ok(())
    }

    fn section(&mut self, section: &Section) -> Result<(), DescriptionError> {
        if !section.hardware.is_empty() {
            let revisions = texts(&section.hardware, "a revision of the hardware")?;
            self.line(&format!("hardware-compatibility = [ {revisions} ];"));
        }
        self.list("images", &section.images, Self::image)?;
        self.list("files", &section.files, Self::image)?;
        self.list("scripts", &section.scripts, Self::script)?;
        self.list("bootenv", &section.bootenv, Self::variable)
    }

    fn image(&mut self, image: &Image) -> Result<(), DescriptionError> {
        self.text("filename", &image.filename, "the name of a file")?;
        self.text_unless_empty("name", &image.name, "the name of an image")?;
        self.text_unless_empty("version", &image.version, "the version of an image")?;
        self.text_unless_empty("type", image.kind.name(), "the type of an image")?;
        self.text_unless_empty("device", &image.device, "a device")?;
        if let Some(compression) = image.compression {
            self.line(&format!("compressed = \"{}\";", compression.name()));
        }
        if image.is_installed_directly {
            self.line("installed-directly = true;");
        }
        self.sha256(image.sha256);
        self.properties(&image.properties)
    }

    fn script(&mut self, script: &Script) -> Result<(), DescriptionError> {
        if let Some(filename) = &script.filename {
            self.text("filename", filename, "the name of a file")?;
        }
        self.text_unless_empty("type", script.kind.name(), "the type of a script")?;
        self.text_unless_empty("device", &script.device, "a device")?;
        self.text_unless_empty("data", &script.data, "what a script is called with")?;
        self.sha256(script.sha256);
        self.properties(&script.properties)
    }

    fn variable(&mut self, variable: &Variable) -> Result<(), DescriptionError> {
        let what = "the name of a boot variable";
        if variable.name.is_empty() || variable.name.contains(['=', ' ']) {
            return Err(DescriptionError::Text { what, reason: "it is empty, or has = or a space" });
        }
        if variable.name.len() > VARIABLE_NAME_BYTES_MAX {
            return Err(DescriptionError::Text { what, reason: "some devices cut it at 31 bytes" });
        }
        self.text("name", &variable.name, what)?;
        self.text("value", &variable.value, "the value of a boot variable")
    }

    fn properties(&mut self, properties: &[Property]) -> Result<(), DescriptionError> {
        if properties.is_empty() {
            return Ok(());
        }
        self.open("properties = {");
        for (index, property) in properties.iter().enumerate() {
            check_name(&property.name).or_else(|error| {
                // What is reserved for sections is not for these.
                if RESERVED.contains(&&property.name[..]) { Ok(()) } else { Err(error) }
            })?;
            if properties[..index].iter().any(|other| other.name == property.name) {
                return Err(DescriptionError::Text { what: "a property", reason: "it is there twice" });
            }
            let values = texts(&property.values, "the value of a property")?;
            self.line(&format!("{} = [ {values} ];", property.name));
        }
        self.close("};");
        Ok(())
    }
}

fn texts(values: &[String], what: &'static str) -> Result<String, DescriptionError> {
    let quoted: Vec<String> = values.iter().map(|value| quoted(value, what)).collect::<Result<_, _>>()?;
    Ok(quoted.join(", "))
}

/// A text in quotes. Control characters are refused, though there are escapes for them: boot variables and
/// arguments of scripts are handed on line by line.
fn quoted(value: &str, what: &'static str) -> Result<String, DescriptionError> {
    if value.len() > TEXT_BYTES_MAX {
        return Err(DescriptionError::Text { what, reason: "devices cut it at 254 bytes" });
    }
    if value.contains(char::is_control) {
        return Err(DescriptionError::Text { what, reason: "it has control characters" });
    }
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for character in value.chars() {
        match character {
            '"' | '\\' => write!(text, "\\{character}").unwrap_or_default(),
            _ => text.push(character),
        }
    }
    text.push('"');
    Ok(text)
}
