//! Bars as an SVG picture.

use std::io;
use std::path::Path;

use plotters::backend::SVGBackend;
use plotters::drawing::{DrawingAreaErrorKind, IntoDrawingArea as _};
use plotters::element::{Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, FontStyle, IntoFont as _, RGBColor, TextStyle, WHITE};

use crate::command::diff::write_patch;
use fluvial_console::Fault;

const INK: RGBColor = RGBColor(28, 39, 51);
const QUIET_INK: RGBColor = RGBColor(91, 104, 118);
const OURS: RGBColor = RGBColor(11, 122, 117);
const PEER: RGBColor = RGBColor(185, 196, 206);

/// Sizes of letters as plotters takes them: 1.24 times those that come out, in pixels.
const TITLE_SIZE: i32 = 27;
const TEXT_SIZE: i32 = 16;

const WIDTH: i32 = 880;
const MARGIN: i32 = 24;
const HEAD_HEIGHT: i32 = 84;
const LABEL_WIDTH: i32 = 250;
/// Room right of the longest bar for its number.
const VALUE_WIDTH: i32 = 150;
const BAR_HEIGHT: i32 = 16;
const BAR_STEP: i32 = 26;

/// A bar.
#[derive(Debug, Clone)]
pub struct Bar {
    /// What it is about.
    pub label: String,
    /// Its length: zero or more.
    pub value: f64,
    /// What stands at its end.
    pub text: String,
    /// Whether it is about this program.
    pub is_ours: bool,
}

/// Writes a chart, whole or not at all.
///
/// # Errors
/// Where it cannot be written.
pub fn write(path: &Path, title: &str, note: &str, bars: &[Bar]) -> Result<(), Fault> {
    let failed = |error| Fault::writing(path, error);
    let svg = draw(title, note, bars).map_err(failed)?;
    write_patch(path, |draft| draft.write_all(svg.as_bytes()).map_err(failed))
}

fn draw(title: &str, note: &str, bars: &[Bar]) -> io::Result<String> {
    let height = HEAD_HEIGHT + bars.len() as i32 * BAR_STEP + MARGIN;
    let mut svg = String::new();
    paint(&mut svg, height, title, note, bars).map_err(|error| match error {
        DrawingAreaErrorKind::BackendError(error) => io::Error::other(error),
        error => io::Error::other(error.to_string()),
    })?;
    Ok(svg)
}

fn paint(
    svg: &mut String,
    height: i32,
    title: &str,
    note: &str,
    bars: &[Bar],
) -> Result<(), DrawingAreaErrorKind<io::Error>> {
    let page = SVGBackend::with_string(svg, (WIDTH as u32, height as u32)).into_drawing_area();
    page.fill(&WHITE)?;
    let write = |text: &str, at, style: TextStyle<'_>| page.draw(&Text::new(text.to_owned(), at, style));
    write(title, (MARGIN, 36), style(TITLE_SIZE, INK, HPos::Left, true))?;
    write(note, (MARGIN, 60), style(TEXT_SIZE, QUIET_INK, HPos::Left, false))?;
    let longest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let room = f64::from(WIDTH - 2 * MARGIN - LABEL_WIDTH - VALUE_WIDTH);
    let left = MARGIN + LABEL_WIDTH;
    for (index, bar) in bars.iter().enumerate() {
        let top = HEAD_HEIGHT + index as i32 * BAR_STEP;
        let middle = top + BAR_HEIGHT / 2;
        let share = if longest > 0.0 { bar.value / longest } else { 0.0 };
        let right = left + (share * room).max(2.0) as i32;
        let color = if bar.is_ours { OURS } else { PEER };
        page.draw(&Rectangle::new([(left, top), (right, top + BAR_HEIGHT)], color.filled()))?;
        write(&bar.label, (left - 10, middle), style(TEXT_SIZE, INK, HPos::Right, bar.is_ours))?;
        write(&bar.text, (right + 8, middle), style(TEXT_SIZE, INK, HPos::Left, bar.is_ours))?;
    }
    page.present()
}

fn style(size: i32, color: RGBColor, horizontal: HPos, is_bold: bool) -> TextStyle<'static> {
    let weight = if is_bold { FontStyle::Bold } else { FontStyle::Normal };
    let font = ("sans-serif", size).into_font().style(weight);
    font.color(&color).pos(Pos::new(horizontal, VPos::Center))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, value: f64, is_ours: bool) -> Bar {
        Bar { label: label.into(), value, text: format!("{value} bytes"), is_ours }
    }

    /// The widths of all rectangles but the page's.
    fn widths(svg: &str) -> Vec<i32> {
        let rectangles = svg.split("<rect ").skip(2);
        rectangles
            .map(|rectangle| {
                let (_, rest) = rectangle.split_once("width=\"").unwrap();
                rest.split_once('"').unwrap().0.parse().unwrap()
            })
            .collect()
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let svg = draw("title", "note", &[bar("all", 100.0, false), bar("half", 50.0, true)]).unwrap();
        let widths = widths(&svg);
        assert_eq!(widths.len(), 2);
        assert!((widths[0] - 2 * widths[1]).abs() <= 1, "{widths:?}");
        assert!(svg.contains("100 bytes"));
    }

    #[test]
    fn no_text_breaks_the_picture() {
        let svg = draw("a <b> & \"c\"", "", &[bar("</text><script>", 0.0, false)]).unwrap();
        assert!(!svg.contains("<script>") && !svg.contains("<b>"), "{svg}");
        assert_eq!(widths(&svg), [2]);
    }
}
