use proptest::prelude::*;

use super::*;

fn image(filename: &str) -> Image {
    Image {
        filename: filename.into(),
        name: "rootfs".into(),
        version: "2".into(),
        kind: ImageKind::RdiffImage,
        device: "/dev/disk/by-label/a \"b\" \\ c".into(),
        compression: Some(Compression::Zstd),
        sha256: Some([7; 32]),
        is_installed_directly: true,
        properties: vec![
            Property::new("rdiffbase", "/dev/a"),
            Property { name: "two".into(), values: vec!["1".into(), "2".into()] },
        ],
    }
}

fn script() -> Script {
    Script {
        filename: Some("check.sh".into()),
        kind: ScriptKind::Shell,
        device: String::new(),
        data: "copy1".into(),
        sha256: Some([8; 32]),
        properties: vec![],
    }
}

fn example() -> Description {
    let section = |path: &[&str], images: &[&str]| Section {
        path: path.iter().map(|&name| name.to_owned()).collect(),
        images: images.iter().map(|name| image(name)).collect(),
        ..Section::default()
    };
    let variable = Variable { name: "slot".into(), value: "b; reset #".into() };
    Description {
        version: "0.2.0-rc1".into(),
        name: "demo".into(),
        text: "für \"alle\"".into(),
        sections: vec![
            Section { hardware: vec!["1.0".into(), "#RE:^2".into()], ..Section::default() },
            section(&["stable", "copy1"], &["a"]),
            Section {
                scripts: vec![script()],
                bootenv: vec![variable],
                ..section(&["stable", "copy2"], &["a", "b"])
            },
            Section { hardware: vec!["9".into()], ..section(&["board"], &["c"]) },
            section(&["board", "stable", "copy1"], &["d"]),
        ],
    }
}

#[test]
fn what_was_written_is_read_again() {
    let text = example().to_text().unwrap();
    let mut read = Description::read(text.as_bytes()).unwrap();
    let mut written = example();
    // Groups within groups stand with their parents.
    read.sections.sort_by(|a, b| a.path.cmp(&b.path));
    written.sections.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!(read, written, "{text}");
}

#[test]
fn each_list_comes_from_the_section_that_fits_best() {
    let example = example();
    let choice = |board: &str, mode: &str| DeviceChoice {
        board: (!board.is_empty()).then(|| board.to_owned()),
        set_and_mode: (!mode.is_empty()).then(|| ("stable".to_owned(), mode.to_owned())),
    };
    let names = |choice: &DeviceChoice| -> Vec<&str> {
        example.lists_for(choice).images.iter().map(|image| &image.filename[..]).collect()
    };
    assert!(names(&choice("", "")).is_empty());
    assert_eq!(names(&choice("", "copy1")), ["a"]);
    assert_eq!(names(&choice("board", "copy1")), ["d"]);
    assert_eq!(names(&choice("board", "copy2")), ["a", "b"]);
    assert_eq!(names(&choice("board", "other")), ["c"]);
    assert_eq!(example.lists_for(&choice("board", "copy2")).hardware, ["9"]);
    assert_eq!(example.lists_for(&choice("other", "copy2")).hardware, ["1.0", "#RE:^2"]);
    assert_eq!(example.lists_for(&choice("board", "copy2")).scripts.len(), 1);
    assert_eq!(example.files().map(|(name, _)| name).collect::<String>(), "aabcheck.shcd");
}

#[test]
fn the_recipe_of_the_manual_is_read() {
    let text = br#"software = { version = "0.2.0"; hardware-compatibility: [ "1.0" ];
 images: ( { filename = "rootfs.delta.gz"; type = "rdiff_image"; compressed = true; device = "/b";
   properties: { rdiffbase = ["/a"]; other = "x" }; } );
 scripts: ( { filename = "f.lua" }, { device = "/b"; type = "readback"; properties: { size = ["5"] } } );
 uboot: ( { name = "x"; value = "y" } ); partitions: ( { name = "p" } ); }"#;
    let read = Description::read(text).unwrap();
    let lists = read.lists_for(&DeviceChoice::default());
    assert_eq!(Property::find(&lists.images[0].properties, "rdiffbase"), Some("/a"));
    assert_eq!(Property::find(&lists.images[0].properties, "other"), Some("x"));
    assert_eq!((lists.images[0].compression, lists.images[0].sha256), (Some(Compression::Zlib), None));
    assert_eq!((&lists.scripts[0].kind, &lists.scripts[1].kind), (&ScriptKind::Lua, &ScriptKind::Readback));
    assert_eq!(lists.bootenv, [Variable { name: "x".into(), value: "y".into() }]);
}

#[test]
fn a_script_without_a_type_is_run_by_lua() {
    for setting in ["", "type = \"\";", "type = \"lua\";"] {
        let text =
            format!("software = {{ version = \"1\"; scripts: ( {{ filename = \"f\"; {setting} }} ); }}");
        let read = Description::read(text.as_bytes()).unwrap();
        assert_eq!(read.lists_for(&DeviceChoice::default()).scripts[0].kind, ScriptKind::Lua, "{setting}");
    }
}

#[test]
fn each_setting_is_of_its_type() {
    let error = |inside: &str| {
        Description::read(format!("software = {{ version = \"1\"; {inside} }}").as_bytes()).unwrap_err()
    };
    for (inside, at) in [
        ("images = 1", "software.images"),
        ("images = ( 1 )", "software.images"),
        ("images = ( { filename = 1 } )", "software.images[0].filename"),
        ("images = ( { filename = \"a\"; sha256 = \"ab\" } )", "software.images[0].sha256"),
        ("images = ( { filename = \"a\"; compressed = \"xz\" } )", "software.images[0].compressed"),
        (
            "images = ( { filename = \"a\"; installed-directly = 1 } )",
            "software.images[0].installed-directly",
        ),
        ("s = { m = { scripts = ( { properties = { a = 1 } } ) } }", "software.s.m.scripts[0].properties.a"),
        ("hardware-compatibility = \"1\"", "software.hardware-compatibility"),
    ] {
        assert!(matches!(error(inside), DescriptionError::Type { at: found, .. } if found == at), "{inside}");
    }
    for (inside, at) in [
        ("ref = \"#./x\"", "software.ref"),
        ("images = ( { ref = \"#./x\" } )", "software.images[0].ref"),
        ("embedded-script = \"x\"", "software.embedded-script"),
        ("a = { b = { c = { d = { } } } }", "software.a.b.c.d"),
    ] {
        assert_eq!(error(inside), DescriptionError::Unsupported { at: at.into() });
    }
    let missing = DescriptionError::Missing { at: "software.images[0].filename".into() };
    assert_eq!(error("images = ( { } )"), missing);
    assert_eq!(Description::read(b"a = 1"), Err(DescriptionError::Missing { at: "software".into() }));
    assert_eq!(
        Description::read(b"software = { }"),
        Err(DescriptionError::Missing { at: "software.version".into() })
    );
}

#[test]
fn what_a_device_would_read_otherwise_is_not_written() {
    let refused = |change: &dyn Fn(&mut Description)| {
        let mut changed = example();
        change(&mut changed);
        changed.to_text().unwrap_err()
    };
    let long = "a".repeat(255);
    let text = |what| move |error: &DescriptionError| matches!(error, DescriptionError::Text { what: found, .. } if *found == what);
    assert!(text("the version")(&refused(&|changed| changed.version.clear())));
    assert!(text("the version")(&refused(&|changed| changed.version = "1\n2".into())));
    assert!(text("the version")(&refused(&|changed| changed.version = long.clone())));
    let variable = |name: &str, value: &str| Variable { name: name.into(), value: value.into() };
    for (name, value, what) in [
        ("", "", "the name of a boot variable"),
        ("a=b", "", "the name of a boot variable"),
        (&"a".repeat(32), "", "the name of a boot variable"),
        ("a", "1\nb=2", "the value of a boot variable"),
    ] {
        let error = refused(&|changed| changed.sections[0].bootenv = vec![variable(name, value)]);
        assert!(text(what)(&error), "{name}");
    }
    for name in ["", "1", "a.b", "images", "a b", "*"] {
        let error = refused(&|changed| changed.sections[1].path[0] = name.into());
        assert!(text("the name of a board, a software set or a mode")(&error), "{name}");
    }
    let twice = refused(&|changed| changed.sections[1].path[1] = "copy2".into());
    assert_eq!(twice, DescriptionError::SectionTwice { path: "stable.copy2".into() });
}

proptest! {
    #[test]
    fn texts_come_back_as_they_were(text in "[^\\p{Cc}]{1,60}") {
        let written = Description { version: text.clone(), ..Description::default() }.to_text().unwrap();
        prop_assert_eq!(Description::read(written.as_bytes()).unwrap().version, text);
    }
}
