//! Pages that stand alone: one HTML file with its style and its charts in it, without a script and without network.
//!
//! A page is a template that extends `base.html` (see [`template::html`](super::template::html)); it draws a [`Chart`],
//! which is plain data, with the macro of `chart.html`. Each chart says in words what it shows, for readers who cannot
//! see it.

mod axis;
mod chart;

pub(crate) use axis::Axis;
pub(crate) use chart::Chart;

/// The templates that every page may use, by name.
pub(super) const TEMPLATES: [(&str, &str); 4] = [
    ("base.html", include_str!("base.html")),
    ("chart.html", include_str!("chart.html")),
    ("style.css", include_str!("style.css")),
    ("patterns.svg", include_str!("patterns.svg")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::template::html;

    #[test]
    fn a_page_asks_for_nothing_and_runs_nothing() {
        let page = "{% extends 'base.html' %}{% from 'chart.html' import chart %}
            {% block title %}{{ about }}{% endblock %}{% block body %}{{ chart(it) }}{% endblock %}";
        let it = Chart::new("<s>", 100, Axis::time(1000.0), Axis::counts(5.0));
        let values = serde_json::json!({"about": "<b>", "it": it});
        let text = html(page, &values).unwrap().replace("url(#", "");
        assert_eq!(text.matches("&lt;b&gt;").count(), 2, "{text}");
        for foreign in [
            "http:", "https:", "src=", "@import", "url(", "<script", "<b>", "<s>",
        ] {
            assert!(!text.contains(foreign), "{foreign}");
        }
    }
}
