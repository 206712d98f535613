//! The index of a Deltar update.

/// Goes down by a name.
const PUSH: u8 = 1;
/// Goes up.
const POP: u8 = 2;
/// A file, and how many chunks it has.
const FILE: u8 = 5;

/// What a device is told: a walk through the folders, with the chunks of each file. The bytes are those that
/// Rugix's simulator writes (`deltar.rs`, `serialize_plan`) for what is told here.
#[derive(Debug, Default)]
pub struct Plan {
    bytes: Vec<u8>,
    /// Where the walk stands.
    path: Vec<String>,
    /// Where the number of chunks of the file at hand is written.
    count_at: usize,
    count: u16,
}

impl Plan {
    /// Goes to the next file.
    pub fn file(&mut self, path: &str) {
        let names: Vec<&str> = path.split('/').collect();
        let same = self.path.iter().zip(&names).take_while(|(a, b)| a == *b).count();
        self.bytes.extend(vec![POP; self.path.len() - same]);
        self.path.truncate(same);
        for name in &names[same..] {
            // Linux has no longer names than 255 bytes.
            let name = &name.as_bytes()[..name.len().min(usize::from(u8::MAX))];
            self.bytes.extend([PUSH, name.len() as u8]);
            self.bytes.extend_from_slice(name);
            self.path.push(String::from_utf8_lossy(name).into_owned());
        }
        self.bytes.push(FILE);
        (self.count_at, self.count) = (self.bytes.len(), 0);
        self.bytes.extend([0; 2]);
    }

    /// Adds a chunk to the file.
    pub fn chunk(&mut self, digest: &[u8; 32], group: u32, number: u16) {
        self.bytes.extend_from_slice(digest);
        self.bytes.extend(group.to_be_bytes());
        self.bytes.extend(number.to_be_bytes());
        self.count = self.count.wrapping_add(1);
        self.bytes[self.count_at..self.count_at + 2].copy_from_slice(&self.count.to_be_bytes());
    }

    /// All of it, to be packed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_walk() {
        let mut plan = Plan::default();
        plan.file("a/b");
        plan.chunk(&[7; 32], 3, 1);
        plan.file("a/c/d");
        let mut expected = vec![PUSH, 1, b'a', PUSH, 1, b'b', FILE, 0, 1];
        expected.extend([7; 32]);
        expected.extend([0, 0, 0, 3, 0, 1, POP, PUSH, 1, b'c', PUSH, 1, b'd', FILE, 0, 0]);
        assert_eq!(plan.bytes(), expected);
    }
}
