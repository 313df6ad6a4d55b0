//! A page of Markdown, read as far as the tests need it: blocks, links, headings, words in code type.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) struct Page {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// A block of code.
#[derive(Debug, PartialEq)]
pub(crate) struct Block<'a> {
    /// What stands behind the fence: a language, and perhaps the name of a file.
    pub(crate) info: &'a str,
    pub(crate) lines: Vec<&'a str>,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README, and every page below `docs/`.
pub(crate) fn pages() -> Vec<Page> {
    let mut paths = vec![root().join("README.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|end| end == "md") => paths.push(path),
                false => {}
            }
        }
    }
    let read = |path: PathBuf| Page::new(&path, fs::read_to_string(&path).unwrap());
    paths.into_iter().map(read).collect()
}

impl Page {
    pub(crate) fn new(path: &Path, text: String) -> Self {
        let path = path.to_owned();
        Page { path, text }
    }

    /// Its path from the root of the repository.
    pub(crate) fn name(&self) -> String {
        let path = self.path.strip_prefix(root()).unwrap_or(&self.path);
        path.display().to_string()
    }

    pub(crate) fn blocks(&self) -> Vec<Block<'_>> {
        let (mut blocks, mut open) = (Vec::new(), None);
        for line in self.text.lines() {
            match (line.strip_prefix("```"), open.as_mut()) {
                (Some(info), None) => {
                    let lines = Vec::new();
                    open = Some(Block { info, lines });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => block.lines.push(line),
                (None, None) => {}
            }
        }
        blocks
    }

    /// The lines outside blocks.
    fn prose(&self) -> impl Iterator<Item = &str> {
        let mut is_code = false;
        self.text.lines().filter(move |line| {
            let is_fence = line.starts_with("```");
            is_code ^= is_fence;
            !is_code && !is_fence
        })
    }

    /// What stands in code type within lines.
    pub(crate) fn quoted(&self) -> impl Iterator<Item = String> {
        let odd = |line: &str| -> Vec<String> {
            let parts = line.split('`').skip(1).step_by(2);
            parts.map(str::to_owned).collect()
        };
        self.prose().flat_map(odd)
    }

    /// The targets of its links that are in the repository: `[text](target)` and `[label]: target`.
    pub(crate) fn links(&self) -> Vec<String> {
        let mut links = Vec::new();
        let prose: Vec<_> = self.prose().collect();
        let text = prose.join("\n");
        let inline = text.split("](").skip(1).map(|rest| rest.split(')').next());
        links.extend(inline.flatten());
        for line in &prose {
            let definition = line
                .strip_prefix('[')
                .and_then(|line| line.split_once("]: "));
            links.extend(definition.map(|(_, target)| target));
        }
        let is_near = |link: &&str| !link.contains("://");
        links
            .into_iter()
            .filter(is_near)
            .map(str::to_owned)
            .collect()
    }

    /// What links to its headings are named.
    pub(crate) fn anchors(&self) -> BTreeSet<String> {
        let headings = self.prose().filter(|line| line.starts_with('#'));
        let titles = headings.map(|line| line.trim_start_matches('#').trim());
        titles.map(anchor).collect()
    }
}

fn anchor(title: &str) -> String {
    let letters = title.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
        _ => None,
    });
    letters.collect()
}

#[test]
fn a_page_is_read() {
    let text = "# A `b`, c\n[x](y.md#z) [w][v]\n\n[v]: v.md\n```console\n$ a `b`\n# no heading\n```\n`src/x`";
    let page = Page::new(Path::new("p.md"), text.to_owned());
    assert_eq!(page.anchors().into_iter().collect::<Vec<_>>(), ["a-b-c"]);
    assert_eq!(page.links(), ["y.md#z", "v.md"]);
    assert_eq!(page.quoted().collect::<Vec<_>>(), ["b", "src/x"]);
    let lines = vec!["$ a `b`", "# no heading"];
    let info = "console";
    assert_eq!(page.blocks(), [Block { info, lines }]);
}
