use crate::proof::{content, dissect, matches_tree};
use crate::tools::{have, run};
use crate::tree::Tree;

#[test]
fn every_width_gives_the_files_back() {
    if !have("mkfs.vfat") || !have("mcopy") {
        return;
    }
    let mut tree = Tree::new();
    // No links, and no names that are not text.
    let odd = tree.files.keys().find(|path| path.starts_with("not-utf8")).cloned().unwrap();
    tree.files.remove(&odd);
    let twins: Vec<_> = tree.twins.keys().map(|path| (path.clone(), vec![path.clone()])).collect();
    tree.twins.extend(twins);
    let paths = ["one", "text", "empty", "usr", "many", "sparse"].map(|path| format!("root/{path}"));
    let sources: Vec<&str> = paths.iter().map(String::as_str).collect();
    std::fs::remove_file(tree.root().join("usr/outside")).unwrap();
    for (width, kib) in [("12", "16384"), ("16", "32768"), ("32", "65536")] {
        let _ = std::fs::remove_file(tree.scratch.path().join("image"));
        run(tree.scratch.path(), "mkfs.vfat", &["-F", width, "-n", "BOOT", "-C", "image", kib]);
        run(tree.scratch.path(), "mcopy", &[&["-s", "-i", "image"], &sources[..], &["::"]].concat());
        // Deleted entries stay in the folder, and their clusters are used again elsewhere.
        run(tree.scratch.path(), "mdel", &["-i", "image", "::/many/file-200"]);
        run(tree.scratch.path(), "mcopy", &["-i", "image", "root/usr/share/page", "::/README.TXT"]);
        tree.files.insert("README.TXT".into(), tree.files["usr/share/page"].clone());
        tree.twins.insert("README.TXT".into(), vec!["README.TXT".into()]);
        let image = std::fs::read(tree.scratch.path().join("image")).unwrap();
        let structure = dissect(&image, "fat");
        let deleted = tree.files.remove("many/file-200");
        matches_tree(&image, &structure, &tree);
        let sparse = structure.parts.iter().find(|part| part.path == "sparse").unwrap();
        assert!(content(&image, &sparse.content) == tree.files["sparse"]);
        tree.files.extend(deleted.map(|bytes| ("many/file-200".into(), bytes)));
    }
}
