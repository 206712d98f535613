//! What is not packed, and what is not opened.

use fluvial_swu::cpio::{Checksum, CpioWriter};
use fluvial_swu::description::{DescriptionError, DeviceChoice, Variable};
use fluvial_swu::package::{
    Choice, Downgrade, OpenError, PackageReader, PackageSpec, Place, RefusalError, WriteError, write,
};

use crate::support::{noise, now, spec};

/// What is said to a specification after a change.
fn refused(change: impl Fn(&mut PackageSpec<'_>)) -> WriteError {
    let file = noise(100, 1);
    let mut spec = spec(&file, None, &file, Place { target: "/b".into(), base: None });
    write(&spec, None, now(), std::io::sink()).unwrap();
    change(&mut spec);
    write(&spec, None, now(), std::io::sink()).unwrap_err()
}

#[test]
fn specifications_are_checked() {
    let text = |text: &str| text.to_owned();
    assert!(matches!(refused(|spec| spec.partitions.clear()), WriteError::Partitions));
    assert!(matches!(refused(|spec| spec.choices.clear()), WriteError::Choices));
    assert!(matches!(refused(|spec| spec.hardware.revisions.clear()), WriteError::Hardware));
    assert!(matches!(refused(|spec| spec.hardware.revisions[0] = text("#RE:.*")), WriteError::Hardware));
    assert!(matches!(
        refused(|spec| spec.choices[0].places.clear()),
        WriteError::Places { wanted: 1, found: 0 }
    ));
    let twice = |spec: &mut PackageSpec<'_>| spec.choices.push(spec.choices[0].clone());
    assert!(matches!(refused(twice), WriteError::Unnamed));
    let base = |spec: &mut PackageSpec<'_>| spec.choices[0].places[0].base = Some(text("/a"));
    assert!(matches!(refused(base), WriteError::Base { .. }));
    let same = |spec: &mut PackageSpec<'_>| {
        base(spec);
        spec.partitions[0].base = Some(spec.partitions[0].target);
        spec.choices[0].places[0].base = Some(text("/b"));
    };
    assert!(matches!(refused(same), WriteError::Device { device } if device == "/b"));
    let relative = |spec: &mut PackageSpec<'_>| spec.choices[0].places[0].target = text("b");
    assert!(matches!(refused(relative), WriteError::Device { .. }));
    for name in ["", "-a", "a b", "a/b", "a;b", "$a", "..", "a\n"] {
        assert!(
            matches!(refused(|spec| spec.partitions[0].name = text(name)), WriteError::Name { .. }),
            "{name}"
        );
        assert!(matches!(refused(|spec| spec.partitions[0].file.name = text(name)), WriteError::Name { .. }));
    }
    let reserved = |spec: &mut PackageSpec<'_>| spec.partitions[0].file.name = text("sw-description.sig");
    assert!(matches!(refused(reserved), WriteError::Duplicate { .. }));
    let script = |spec: &mut PackageSpec<'_>| spec.partitions[0].file.name = text("fluvial-check-1.sh");
    assert!(matches!(refused(script), WriteError::Duplicate { .. }));
    assert!(matches!(
        refused(|spec| spec.partitions.push(spec.partitions[0].clone())),
        WriteError::Duplicate { .. }
    ));
    assert!(matches!(refused(|spec| spec.partitions[0].target.size_bytes = 0), WriteError::Length { .. }));
    assert!(matches!(
        refused(|spec| spec.partitions[0].target.size_bytes = 1 << 41),
        WriteError::Length { .. }
    ));
    let version = |spec: &mut PackageSpec<'_>| {
        spec.version = text("next");
        spec.downgrade =
            Downgrade::Refused { versions_file: text("/etc/sw-versions"), component: text("demo") };
    };
    assert!(matches!(refused(version), WriteError::Version { version } if version == "next"));
    let mode = |spec: &mut PackageSpec<'_>| spec.choices[0].set_and_mode = Some((text("a b"), text("c")));
    assert!(matches!(refused(mode), WriteError::Description(DescriptionError::Text { .. })));
    let variable = Variable { name: text("a"), value: text("1\nb=2") };
    let variables = |spec: &mut PackageSpec<'_>| spec.choices[0].bootenv.push(variable.clone());
    assert!(matches!(refused(variables), WriteError::Description(DescriptionError::Text { .. })));
    let named = |spec: &mut PackageSpec<'_>| {
        let set_and_mode = Some((text("stable"), text("main")));
        let choice = Choice { set_and_mode, ..spec.choices[0].clone() };
        spec.choices = vec![choice.clone(), choice];
    };
    assert!(matches!(refused(named), WriteError::Description(DescriptionError::SectionTwice { .. })));
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = CpioWriter::new(Vec::new());
    for (name, content) in files {
        let content = content.as_bytes();
        writer.add(name, &content, Checksum::of(&content).unwrap()).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn packages_begin_with_a_description_that_holds() {
    let open = |files: &[(&str, &str)]| PackageReader::open(&archive(files)[..], None, now()).map(drop);
    assert!(matches!(open(&[]), Err(OpenError::NoDescription)));
    assert!(matches!(open(&[("a", "")]), Err(OpenError::NoDescription)));
    let long = " ".repeat((1 << 20) + 1);
    let too_long = open(&[("sw-description", &long)]);
    assert!(matches!(too_long, Err(OpenError::TooLong { name: "sw-description" })));
    let description = |inside: &str| format!("software = {{ version = \"1\"; images = ( {inside} ); }}");
    let too_long = open(&[("sw-description", &description("")), ("sw-description.sig", &long[..70_000])]);
    assert!(matches!(too_long, Err(OpenError::TooLong { name: "sw-description.sig" })));
    let unhashed = description("{ filename = \"a\" }");
    assert!(matches!(open(&[("sw-description", &unhashed)]), Err(OpenError::NoHash { name }) if name == "a"));
    let image = |digit: &str| format!("{{ filename = \"a\"; sha256 = \"{}\" }}", digit.repeat(64));
    let two = description(&format!("{}, {}", image("1"), image("2")));
    assert!(matches!(open(&[("sw-description", &two)]), Err(OpenError::NoHash { name }) if name == "a"));
    assert!(matches!(open(&[("sw-description", "x")]), Err(OpenError::Description(_))));
}

#[test]
fn packages_that_do_not_guard_themselves_are_told() {
    let guarded = {
        let file = noise(100, 1);
        let mut spec = spec(&file, None, &file, Place { target: "/b".into(), base: Some("/a".into()) });
        spec.partitions[0].base = Some(spec.partitions[0].target);
        write(&spec, None, now(), std::io::sink()).unwrap()
    };
    let device = DeviceChoice::default();
    guarded.partitions_for(&device).unwrap();
    for index in 0..8 {
        let mut other = guarded.clone();
        let section = &mut other.sections[0];
        let expected = match index {
            0 => {
                section.scripts.remove(0);
                "a script before it"
            }
            1 => {
                section.scripts.remove(1);
                "a check of what was written"
            }
            2 => {
                section.scripts[1].device = "/c".into();
                "a check of what was written"
            }
            3 => {
                section.scripts[1].properties[1].values = vec!["99".into()];
                "a check of what was written"
            }
            4 => {
                section.images[0].is_installed_directly = true;
                "it is written before a script runs"
            }
            5 => {
                section.images[0].properties.retain(|property| property.name != "base-sha256");
                "length and SHA-256 of the base"
            }
            6 => {
                section.images[0].properties.retain(|property| property.name != "target-size");
                "length and SHA-256 of the result"
            }
            _ => {
                section.images[0].properties.retain(|property| property.name != "rdiffbase");
                "the base"
            }
        };
        let unguarded = RefusalError::Unguarded { filename: "rootfs.packed".into(), lacks: expected };
        assert_eq!(other.partitions_for(&device), Err(unguarded), "{index}");
    }
}
