//! The guide: the pages of the folder `docs`, each as a module, so that their examples are compiled and run.
//!
//! A page links to another by a label, such as `[faq.md]`, which is the other's path below `docs`. Here each label is
//! defined once more, as a link to the module. The links to files of the repository work in the repository only.

/// One module for each page: its name, and its path below `docs`.
macro_rules! pages {
    ($($name:ident $path:literal),* $(,)?) => {
        pages!(@with concat!($("[", $path, "]: crate::guide::", stringify!($name), "\n",)* "\n"), $($name $path),*);
    };
    (@with $links:expr, $($name:ident $path:literal),*) => {
        $(
            #[doc = $links]
            #[doc = include_str!(concat!("../docs/", $path))]
            pub mod $name {}
        )*
    };
}

pages! {
    index "README.md",
    getting_started "getting-started.md",
    troubleshooting "troubleshooting.md",
    faq "faq.md",
    cookbook "cookbook.md",
    rows "rows.md",
    schemas "schemas.md",
    money "money.md",
    gate "gate.md",
    reference "reference.md",
    embedding "embedding.md",
    design "design.md",
    evidence "evidence.md",
    dependencies "dependencies.md",
    glossary "glossary.md",
    article "learn/article.md",
    pattern "learn/pattern.md",
    lessons "learn/lessons.md",
    exercises "learn/exercises.md",
    further_reading "learn/further-reading.md",
}

/// Compiles and runs the README's examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
