//! A line of progress as indicatif composes it: [`Line`].
//!
//! It is text without place: where it stands, how much of it has room and when it is wiped is not known here.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, TermLike};
use std::fmt::Write;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// A bar, and what it draws on.
pub(super) struct Line {
    bar: ProgressBar,
    canvas: Canvas,
}

impl Line {
    /// A line that begins now, at 0 of so many.
    pub(super) fn new(total: u64) -> Self {
        let canvas = Canvas::default();
        let target = ProgressDrawTarget::term_like(Box::new(canvas.clone()));
        Self { bar: ProgressBar::with_draw_target(Some(total), target), canvas }
    }

    /// The bar itself, to move it.
    pub(super) fn bar(&self) -> &ProgressBar {
        &self.bar
    }

    /// Moves the bar to so many of so many.
    pub(super) fn set(&self, done: u64, total: u64) {
        self.bar.update(|state| {
            state.set_len(total);
            state.set_pos(done);
        });
    }

    /// What the template makes of the bar as it is now. The keys come before those of the same name that indicatif has.
    pub(super) fn text(&self, template: &str, keys: &[(&'static str, String)]) -> String {
        let style = ProgressStyle::with_template(template).expect("no template comes from outside");
        let style = keys.iter().cloned().fold(style.progress_chars("=> "), |style, (key, value)| {
            style.with_key(key, move |_: &ProgressState, text: &mut dyn Write| {
                let _ = text.write_str(&value);
            })
        });
        self.bar.set_style(style);
        self.bar.tick();
        self.canvas.text()
    }
}

/// What indicatif takes for the terminal: it keeps the text of one line.
#[derive(Clone, Debug, Default)]
struct Canvas(Arc<Mutex<String>>);

impl Canvas {
    /// What stands there, without the blanks to the margin.
    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).trim_end().to_owned()
    }
}

impl TermLike for Canvas {
    /// Only decides how many blanks follow: a longer line comes whole.
    fn width(&self) -> u16 {
        80
    }

    /// Room for what would be wrapped, which is left out otherwise.
    fn height(&self) -> u16 {
        u16::MAX
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_of_the_bar_as_it_is_then_and_comes_whole() {
        let line = Line::new(4);
        let long = "x".repeat(500);
        let keys = [("long", long.clone()), ("pos", "own".to_owned())];
        for (done, total, template, expected) in [
            (0, 4, "[{bar:8}] {pos}/{len}", "[        ] own/4".to_owned()),
            (2, 4, "[{bar:8}] {percent}%", "[====>   ] 50%".to_owned()),
            (2, 4, "{long} {len}", format!("{long} 4")),
            (9, 9, "[{bar:8}] {pos:6}{len}", "[========] own   9".to_owned()),
            (1, 9, "{long:502}|", format!("{long}  |")),
            (1, 1 << 60, "[{bar:8}]", "[>       ]".to_owned()),
        ] {
            line.set(done, total);
            assert_eq!(line.text(template, &keys), expected);
        }
    }
}
