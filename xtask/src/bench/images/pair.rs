//! The pairs: which layers the old and the new image have.

/// What an image is made of.
#[derive(Debug)]
pub struct ImageRecipe {
    pub age: &'static str,
    /// Names of layers that `layer::Builder` knows, the lowest first.
    pub layers: &'static [&'static str],
    /// What a container of it runs.
    pub command: &'static [&'static str],
}

/// What a pair shows, and so the bar that it is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bar {
    /// At most 0.9 of the best peer's patch.
    Below,
    /// At most the best peer's patch.
    NotAbove,
    /// At most the missing layers compressed, and 1 %.
    WorstCase,
}

/// Two images: what a device has and what it needs.
#[derive(Debug)]
pub struct ImagePair {
    pub id: &'static str,
    /// What happens between the two, in words.
    pub story: &'static str,
    pub bar: Bar,
    pub old: ImageRecipe,
    pub new: ImageRecipe,
}

impl ImagePair {
    /// The pair's name in results.
    pub fn name(&self) -> String {
        format!("image-{}", self.id)
    }

    /// The tag of one of its images in the layout.
    pub fn tag(&self, image: &ImageRecipe) -> String {
        format!("{}-{}", self.id, image.age)
    }

    pub fn is_unrelated(&self) -> bool {
        self.bar == Bar::WorstCase
    }
}

const PYTHON: &[&str] = &["python3", "/srv/app.py"];
const NODE: &[&str] = &["/usr/local/bin/node", "/srv/app.js"];

const fn old(layers: &'static [&'static str], command: &'static [&'static str]) -> ImageRecipe {
    ImageRecipe { age: "old", layers, command }
}

const fn new(layers: &'static [&'static str], command: &'static [&'static str]) -> ImageRecipe {
    ImageRecipe { age: "new", layers, command }
}

/// All pairs, in the order of the report.
pub const ALL: [ImagePair; 8] = [
    ImagePair {
        id: "A",
        story: "pip upgrade: Flask 3.0.0 -> 3.0.3, NumPy 2.0.0 -> 2.0.2, requests 2.31.0 -> 2.32.3",
        bar: Bar::Below,
        old: old(&["base", "pip-old", "app-old"], PYTHON),
        new: new(&["base", "pip-new", "app-new"], PYTHON),
    },
    ImagePair {
        id: "B1",
        story: "two lines of the application, and curl in the first layer: every layer is built again",
        bar: Bar::NotAbove,
        old: old(&["base", "pip-old", "app-old"], PYTHON),
        new: new(&["base-with-curl", "pip-old-again", "app-new"], PYTHON),
    },
    ImagePair {
        id: "B2",
        story: "the same two lines and curl, as layers on top",
        bar: Bar::NotAbove,
        old: old(&["base", "pip-old", "app-old"], PYTHON),
        new: new(&["base", "pip-old", "app-old", "curl", "app-new"], PYTHON),
    },
    ImagePair {
        id: "C1",
        story: "runtime upgrade: Node.js 22.19.0 -> 22.20.0",
        bar: Bar::Below,
        old: old(&["base", "node-22.19.0", "app-js"], NODE),
        new: new(&["base", "node-22.20.0", "app-js"], NODE),
    },
    ImagePair {
        id: "C2",
        story: "runtime upgrade with a newer base: Node.js 22.20.0 -> 24.9.0, no layer the same",
        bar: Bar::Below,
        old: old(&["base-point", "node-22.20.0", "app-js"], NODE),
        new: new(&["base", "node-24.9.0", "app-js-again"], NODE),
    },
    ImagePair {
        id: "D",
        story: "base refresh: security updates of Debian, everything above built again, no layer the same",
        bar: Bar::Below,
        old: old(&["base-point", "pip-old", "app-old"], PYTHON),
        new: new(&["base", "pip-old-again", "app-new"], PYTHON),
    },
    ImagePair {
        id: "U1",
        story: "unrelated: from a Python service on Debian to Node.js alone",
        bar: Bar::WorstCase,
        old: old(&["base", "pip-old", "app-old"], PYTHON),
        new: new(&["node-24.9.0", "app-js"], NODE),
    },
    ImagePair {
        id: "U2",
        story: "unrelated: from Node.js alone to a Python service on Debian",
        bar: Bar::WorstCase,
        old: old(&["node-24.9.0", "app-js"], NODE),
        new: new(&["base", "pip-old", "app-old"], PYTHON),
    },
];

/// The names of all pairs, in words.
pub fn ids() -> String {
    ALL.map(|pair| pair.id).join(", ")
}
