//! Pages that stand alone: one HTML file with its style and its charts in it, without a script and without network.
//!
//! A page is a template that extends `base.html` (see [`template::html`](super::template::html)); it draws charts with the
//! macros of `chart.html`, from plain data and the [`Axis`] of each direction. Each chart says in words what it shows, for
//! readers who cannot see it.

mod axis;

pub(crate) use axis::Axis;

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

    /// A chart of 100 pixels and one second, with what these calls of macros draw.
    fn chart(bars: &str) -> String {
        let page = format!(
            "{{% extends 'base.html' %}}{{% from 'chart.html' import bars, chart, pointer, word %}}
            {{% block title %}}{{{{ about }}}}{{% endblock %}}
            {{% block body %}}{{% set marks %}}{bars}{{% endset %}}{{{{ chart(axes, about, marks) }}}}{{% endblock %}}"
        );
        let y = serde_json::json!({"from": 1, "to": 0, "ticks": []});
        let axes = serde_json::json!({"x": Axis::time(1000), "y": y, "start": 500, "height": 100});
        html(&page, &serde_json::json!({"about": "<b>", "axes": axes})).unwrap()
    }

    #[test]
    fn a_page_asks_for_nothing_and_runs_nothing() {
        let text =
            chart("{{ bars(axes, 'a', [[0, 1]], 0, 1, '<s>') }}{{ word(axes, 'y', 1, about) }}");
        let text = text.replace("url(#", "");
        assert_eq!(text.matches("&lt;b&gt;").count(), 4, "{text}");
        for foreign in [
            "http:", "https:", "src=", "@import", "url(", "<script", "<b>", "<s>",
        ] {
            assert!(!text.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn bars_lie_where_their_values_say_and_are_never_too_small_to_see() {
        let page = chart(
            "{{ bars(axes, 'a', [[750, 1000]], 0, 0.5, 'one call') }}
            {{ bars(axes, 'b', [[500, 600], [1000, 1000]], 0.5, 1) }}
            {{ bars(axes, 'c', [[500, 1500]], 1, 1) }}{{ bars(axes, 'd', [], 0, 1) }}
            {{ word(axes, 'y', 0.25, 'row') }}{{ pointer(axes, 250, 1, 'p50') }}",
        );
        for expected in [
            "<path class=\"a\" d=\"M250.0 0.0h250.0v50.0h-250.0z\"><title>one call</title></path>",
            "<path class=\"b\" d=\"M0.0 50.0h100.0v50.0h-100.0zM500.0 50.0h1.5v50.0h-1.5z\"></path>",
            "<path class=\"c\" d=\"M0.0 98.5h1000.0v1.5h-1000.0z\"></path>",
            "<span class=\"y\" style=\"top:25.0%\">row</span>",
            "<span class=\"pointed\" style=\"left:25.0%;--row:1\">p50</span>",
        ] {
            assert!(page.contains(expected), "{expected} is not in {page}");
        }
        assert!(!page.contains("class=\"d\""), "nothing to draw is no mark");
    }

    /// Red, green and blue, from 0 to 1 and linear.
    type Colour = [f64; 3];

    /// The colours of the style sheet's first scheme, and of its second, by name.
    fn schemes() -> [Vec<(String, Colour)>; 2] {
        let sheet = include_str!("style.css");
        let blocks: Vec<_> = sheet.split("--paper: #").skip(1).take(2).collect();
        [0, 1].map(|n| {
            let block = format!("--paper: #{}", blocks[n].split('}').next().unwrap());
            let pairs = block.split(';').filter_map(|pair| pair.split_once(": #"));
            pairs
                .map(|(name, hex)| (name.trim().to_owned(), linear(hex)))
                .collect()
        })
    }

    fn linear(hex: &str) -> Colour {
        [0, 2, 4].map(|at| {
            let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        })
    }

    fn times(matrix: [Colour; 3], colour: Colour) -> Colour {
        matrix.map(|row| {
            row.iter()
                .zip(colour)
                .map(|(part, value)| part * value)
                .sum()
        })
    }

    /// WCAG 2.
    fn contrast(one: Colour, other: Colour) -> f64 {
        let light = |c: Colour| 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2] + 0.05;
        let (one, other) = (light(one), light(other));
        one.max(other) / one.min(other)
    }

    /// As eyes without green cones see it (Machado, Oliveira and Fernandes 2009, severity 1).
    fn deuteranopia(colour: Colour) -> Colour {
        let seen = times(
            [
                [0.367322, 0.860646, -0.227968],
                [0.280085, 0.672501, 0.047413],
                [-0.011820, 0.042940, 0.968881],
            ],
            colour,
        );
        seen.map(|value| value.clamp(0.0, 1.0))
    }

    /// The distance in OKLab, in which 0.02 is just seen.
    fn distance(one: Colour, other: Colour) -> f64 {
        let lab = |colour: Colour| {
            let cones = times(
                [
                    [0.4122214708, 0.5363325363, 0.0514459929],
                    [0.2119034982, 0.6806995451, 0.1073969566],
                    [0.0883024619, 0.2817188376, 0.6299787005],
                ],
                colour,
            );
            times(
                [
                    [0.2104542553, 0.7936177850, -0.0040720468],
                    [1.9779984951, -2.4285922050, 0.4505937099],
                    [0.0259040371, 0.7827717662, -0.8086757660],
                ],
                cones.map(f64::cbrt),
            )
        };
        let (one, other) = (lab(one), lab(other));
        let squares = one.iter().zip(other).map(|(a, b)| (a - b).powi(2));
        squares.sum::<f64>().sqrt()
    }

    #[test]
    fn every_kind_of_call_and_time_is_told_apart_in_both_schemes_and_without_green_cones() {
        let kinds = [
            "answered", "limited", "failed", "paused", "waiting", "backoff",
        ];
        for scheme in schemes() {
            let colour = |name: &str| {
                let name = format!("--{name}");
                scheme.iter().find(|(known, _)| *known == name).unwrap().1
            };
            for (n, kind) in kinds.iter().enumerate() {
                let contrast = contrast(colour(kind), colour("paper"));
                assert!(contrast >= 3.0, "{kind} has a contrast of {contrast}");
                for other in &kinds[..n] {
                    let pair = [colour(kind), colour(other)];
                    let [one, two] = pair.map(deuteranopia);
                    let far = distance(one, two).min(distance(pair[0], pair[1]));
                    assert!(far >= 0.1, "{kind} and {other} are {far} apart");
                }
            }
        }
    }
}
