use std::fs;
use std::os::unix::fs::symlink;

use super::*;

const SLOTS: &str = "\
hardware = 'rpi4'
[[slot]]
name = 'system-a'
role = 'system'
group = 'a'
device = '/dev/mmcblk0p2'
[[slot]]
name = 'system-b'
role = 'system'
group = 'b'
partition = { disk = '/dev/mmcblk0', number = 3 }
[[slot]]
name = 'firmware'
role = 'firmware'
file = '/data/firmware.bin'
immutable = false
";
const GRUB: &str = "[boot]\nflow = 'grub'\n";

fn parse(text: &str) -> Result<System, ConfigError> {
    System::parse(text)
}

/// The configuration with something put in the place of something.
fn with(old: &str, new: &str) -> Result<System, ConfigError> {
    let text = format!("{SLOTS}{GRUB}");
    assert!(text.contains(old), "{old}");
    parse(&text.replacen(old, new, 1))
}

fn with_boot(boot: &str) -> Result<System, ConfigError> {
    parse(&format!("{SLOTS}[boot]\n{boot}"))
}

#[test]
fn a_configuration_is_read() {
    let system = parse(&format!("{SLOTS}{GRUB}")).unwrap();
    assert_eq!(system.hardware(), "rpi4");
    let names: Vec<_> = system.groups().iter().map(Group::as_str).collect();
    assert_eq!(names, ["a", "b"]);
    let [a, b] = ["a", "b"].map(|name| system.groups().find(name).unwrap());
    assert_eq!(system.slot_of_role("system", b), system.slot("system-b"));
    assert_eq!(system.slot_of_role("firmware", a), system.slot("firmware"));
    assert_eq!(system.slot_of_role("firmware", b), system.slot("firmware"));
    assert_eq!(system.slot_of_role("data", a), None);
    assert!(system.slot("system-a").unwrap().is_immutable);
    assert!(!system.slot("firmware").unwrap().is_immutable);
    let parameter =
        ActiveSource::Parameter { name: "fluvial.group".into(), command_line: "/proc/cmdline".into() };
    assert_eq!(system.boot().active, Some(parameter));
    assert_eq!(system.boot().flow, FlowConfig::Grub { environment: "/boot/grub/grubenv".into() });
}

#[test]
fn a_wrong_key_is_told_with_its_line() {
    let wrong = |text: &str, line: usize, word: &str| {
        let error = parse(text).unwrap_err();
        let ConfigError::Syntax { line: found, reason } = &error else { panic!("{error}") };
        assert_eq!(*found, line, "{error}");
        assert!(reason.contains(word), "{error}");
    };
    wrong(&format!("hardwear = 'x'\n{SLOTS}{GRUB}"), 1, "hardwear");
    wrong(&format!("{SLOTS}imutable = true\n{GRUB}"), 17, "imutable");
    wrong(&format!("{SLOTS}{GRUB}enviroment = '/x'\n"), 19, "enviroment");
    // A key of another flow is a wrong one too.
    wrong(&format!("{SLOTS}{GRUB}autoboot = '/x'\n"), 19, "autoboot");
    wrong(&format!("{SLOTS}{GRUB}active = {{ fil = '/x' }}\n"), 19, "fil");
    wrong(&format!("{SLOTS}[boot]\nflow = 'lilo'\n"), 18, "lilo");
    wrong(&format!("{SLOTS}{GRUB}= 3\n"), 19, "");
    wrong(
        &SLOTS.replace("number = 3", "nummer = 3").replace("rpi4'", "rpi4'\n[boot]\nflow='grub'"),
        13,
        "nummer",
    );
    wrong(SLOTS, 1, "boot");
}

#[test]
fn slots_that_cannot_be_are_refused() {
    let name = |what: &str| ConfigError::SameName { name: what.into() };
    assert_eq!(with("system-b", "system-a").unwrap_err(), name("system-a"));
    assert_eq!(
        with("group = 'b'\n", "").unwrap_err(),
        ConfigError::SameRole { first: "system-a".into(), second: "system-b".into(), role: "system".into() }
    );
    assert_eq!(
        with("role = 'firmware'", "role = 'fw'\ngroup = 'c'").unwrap_err(),
        ConfigError::Groups { found: 3 }
    );
    let alone = with("role = 'firmware'", "role = 'firmware'\ngroup = 'b'").unwrap_err();
    assert!(matches!(alone, ConfigError::NoCounterpart { .. }), "{alone}");
    let none = parse(&format!("hardware = 'x'\nslot = []\n{GRUB}")).unwrap_err();
    assert_eq!(none, ConfigError::Groups { found: 0 });
}

#[test]
fn a_place_is_told_once_and_is_nobody_elses() {
    for (old, new) in [
        ("device = '/dev/mmcblk0p2'", ""),
        ("device = '/dev/mmcblk0p2'", "device = '/dev/mmcblk0p2'\nfile = '/x'"),
    ] {
        assert_eq!(with(old, new).unwrap_err(), ConfigError::Place { slot: "system-a".into() });
    }
    for new in ["{ disk = '/dev/sda' }", "{ number = 3 }", "{ uuid = 'a', label = 'b' }", "{}"] {
        let error = with("{ disk = '/dev/mmcblk0', number = 3 }", new).unwrap_err();
        assert_eq!(error, ConfigError::Partition { slot: "system-b".into() }, "{new}");
    }
    let same =
        |first: &str, second: &str| ConfigError::SamePlace { first: first.into(), second: second.into() };
    assert_eq!(with("number = 3", "number = 2").unwrap_err(), same("system-a", "system-b"));
    assert_eq!(with("'/data/firmware.bin'", "'/dev//mmcblk0p2'").unwrap_err(), same("system-a", "firmware"));
    assert!(matches!(with("number = 3", "number = 0"), Err(ConfigError::Range { .. })));
    assert!(matches!(with("'/data/", "'data/"), Err(ConfigError::Path { .. })));
}

#[test]
fn names_are_safe_as_names_of_files() {
    for name in ["", ".", "..", "a/b", "-a", "a b", "a\\u0000b", "ä", ".hidden"] {
        let error = with("'system-a'", &format!("\"{name}\"")).unwrap_err();
        assert!(matches!(error, ConfigError::Name { .. }), "{name}: {error}");
    }
    assert!(matches!(with("'a'", "'a.b'"), Err(ConfigError::Name { what: "the group", .. })));
}

#[test]
fn everything_has_a_limit() {
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    assert!(matches!(with("'rpi4'", &format!("'{long}'")), Err(ConfigError::Limit { .. })));
    let long = "x".repeat(GROUP_BYTES_MAX + 1);
    assert!(matches!(with("'a'", &format!("'{long}'")), Err(ConfigError::Name { .. })));
    let long = "x".repeat(PATH_BYTES_MAX);
    assert!(matches!(with("'/data/", &format!("'/{long}/")), Err(ConfigError::Limit { .. })));
    let words = "'x', ".repeat(WORDS_MAX + 1);
    assert!(matches!(
        with_boot(&format!("flow = 'grub'\nreboot = [{words}]")),
        Err(ConfigError::Limit { .. })
    ));
    let slot = |at| format!("[[slot]]\nname = 's{at}'\nrole = 's{at}'\nfile = '/s{at}'\n");
    let slots: String = (0..SLOTS_MAX).map(slot).collect();
    assert!(matches!(parse(&format!("{SLOTS}{slots}{GRUB}")), Err(ConfigError::Limit { .. })));
    let text = format!("{SLOTS}{GRUB}#{}", "x".repeat(CONFIG_BYTES_MAX as usize));
    assert!(matches!(parse(&text), Err(ConfigError::Limit { .. })));
}

#[test]
fn each_flow_has_its_keys() {
    let flow = |boot: &str| with_boot(boot).unwrap().boot().flow.clone();
    let uboot = flow("flow = 'u-boot'\nconfig = '/etc/env'");
    assert!(matches!(uboot, FlowConfig::UBoot { config, .. } if config == Path::new("/etc/env")));
    let entries = flow("flow = 'systemd-boot'\nentries = { b = 'two.conf', a = 'one.conf' }");
    assert!(
        matches!(entries, FlowConfig::SystemdBoot { entries, .. } if entries == ["one.conf", "two.conf"])
    );
    let partitions = flow("flow = 'tryboot'\npartitions = { a = 2, b = 3 }");
    assert!(matches!(partitions, FlowConfig::Tryboot { partitions: [2, 3], .. }));
    let custom = flow("flow = 'custom'\nprogram = '/usr/lib/boot'");
    assert!(matches!(custom, FlowConfig::Custom { time_limit_s: 30, .. }));
}

#[test]
fn wrong_values_of_flows_are_refused() {
    let error = |boot: &str| with_boot(boot).unwrap_err();
    for entries in ["{ a = 'x' }", "{ a = 'x', b = 'x' }", "{ a = 'x', b = 'y', c = 'z' }", "{}"] {
        let error = error(&format!("flow = 'systemd-boot'\nentries = {entries}"));
        assert_eq!(error, ConfigError::PerGroup { table: "entries" }, "{entries}");
    }
    let entry = error("flow = 'systemd-boot'\nentries = { a = '../x', b = 'y' }");
    assert!(matches!(entry, ConfigError::Name { .. }));
    let partition = error("flow = 'tryboot'\npartitions = { a = 0, b = 3 }");
    assert!(matches!(partition, ConfigError::Range { key: "partitions", .. }));
    let program = error("flow = 'custom'\nprogram = 'boot'");
    assert!(matches!(program, ConfigError::Path { what: "program", .. }));
    let time = error("flow = 'custom'\nprogram = '/boot'\ntime-limit-s = 0");
    assert!(matches!(time, ConfigError::Range { key: "time-limit-s", .. }));
    assert_eq!(error("flow = 'grub'\nreboot = []"), ConfigError::Command { key: "reboot" });
    assert_eq!(error("flow = 'grub'\nactive = {}"), ConfigError::Active);
    assert_eq!(error("flow = 'grub'\nactive = { file = '/x', parameter = 'y' }"), ConfigError::Active);
}

#[test]
fn a_file_that_is_too_long_or_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("system.toml");
    assert!(matches!(System::load(&path), Err(SystemError::Read { .. })));
    fs::write(&path, format!("{SLOTS}{GRUB}")).unwrap();
    assert_eq!(System::load(&path).unwrap().hardware(), "rpi4");
    fs::write(&path, vec![b'#'; CONFIG_BYTES_MAX as usize + 1]).unwrap();
    assert!(matches!(System::load(&path), Err(SystemError::TooLong { .. })));
    fs::write(&path, "hardware = 3").unwrap();
    assert!(matches!(System::load(&path), Err(SystemError::Config { .. })));
}

/// A slot that is a partition, in folders that stand for those of the system.
fn partition(folder: &Path, words: &str) -> (System, Roots) {
    let text = format!("{SLOTS}{GRUB}").replace("disk = '/dev/mmcblk0', number = 3", words);
    let text = text.replace("DEV", &folder.join("dev").display().to_string());
    (parse(&text).unwrap(), Roots { dev: folder.join("dev"), sys: folder.join("sys") })
}

#[test]
fn partitions_are_found_by_number_uuid_and_label() {
    let folder = tempfile::tempdir().unwrap();
    let folder = fs::canonicalize(folder.path()).unwrap();
    let dev = folder.join("dev");
    for links in ["by-id", "by-partuuid", "by-partlabel"] {
        fs::create_dir_all(dev.join("disk").join(links)).unwrap();
    }
    for name in ["mmcblk0", "sda", "nvme0n1", "odd7"] {
        fs::write(dev.join(name), "").unwrap();
    }
    fs::write(dev.join("sda2"), "").unwrap();
    let sysfs = folder.join("sys/class/block/nvme0n1/odd7");
    fs::create_dir_all(&sysfs).unwrap();
    fs::write(sysfs.join("partition"), "7\n").unwrap();
    symlink("../../sda", dev.join("disk/by-id/the-disk")).unwrap();
    symlink("../../sda2", dev.join("disk/by-partuuid/0fab-1")).unwrap();
    symlink("../../sda2", dev.join("disk/by-partlabel/my\\x20system\\x2fä")).unwrap();
    for (words, name) in [
        ("disk = 'DEV/mmcblk0', number = 12", "mmcblk0p12"),
        ("disk = 'DEV/sda', number = 2", "sda2"),
        ("disk = 'DEV/disk/by-id/the-disk', number = 2", "sda2"),
        // The kernel's word counts, not the usual form of the name.
        ("disk = 'DEV/nvme0n1', number = 7", "odd7"),
        ("uuid = '0FAB-1'", "sda2"),
        ("label = 'my system/ä'", "sda2"),
    ] {
        let (system, roots) = partition(&folder, words);
        assert_eq!(system.slot("system-b").unwrap().path(&roots).unwrap(), dev.join(name), "{words}");
    }
    for words in ["uuid = '0fab-2'", "label = 'other'", "disk = 'DEV/sdb', number = 1"] {
        let (system, roots) = partition(&folder, words);
        let error = system.slot("system-b").unwrap().path(&roots).unwrap_err();
        assert!(matches!(error, SystemError::Missing { .. }), "{words}: {error}");
    }
    let (system, roots) = partition(&folder, "disk = 'DEV/nvme0n1', number = 1");
    assert!(matches!(system.paths(&roots), Err(SystemError::NoPartition { number: 1, .. })));
}

#[test]
fn two_names_of_one_partition_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = fs::canonicalize(folder.path()).unwrap();
    fs::create_dir_all(folder.join("dev/disk/by-partuuid")).unwrap();
    fs::write(folder.join("dev/sda2"), "").unwrap();
    symlink("../../sda2", folder.join("dev/disk/by-partuuid/0fab-1")).unwrap();
    let (system, roots) = partition(&folder, "uuid = '0fab-1'");
    let paths = system.paths(&roots).unwrap();
    assert_eq!(paths["system-b"], folder.join("dev/sda2"));
    assert_eq!(paths["system-a"], Path::new("/dev/mmcblk0p2"));
    let text = format!("{SLOTS}{GRUB}").replace("disk = '/dev/mmcblk0', number = 3", "uuid = '0fab-1'");
    let device = folder.join("dev/sda2").display().to_string();
    let system = parse(&text.replace("/dev/mmcblk0p2", &device)).unwrap();
    assert!(matches!(system.paths(&roots), Err(SystemError::SamePlace { .. })));
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(\\PC|\n){0,200}") {
        let _ = System::parse(&text);
        let _ = System::parse(&format!("{SLOTS}{GRUB}{text}"));
    }
}
