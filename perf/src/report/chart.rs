//! A line chart as SVG.

/// A measured value and its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Point {
    pub(super) fn exact(x: f64, y: f64) -> Self {
        Self { x, y, low: y, high: y }
    }
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Measured,
    /// Measured by or for others.
    Published,
    /// To be reached.
    Goal,
}

#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) style: Style,
    pub(super) points: Vec<Point>,
}

/// Lines over a logarithmic or linear axis; the marks below it are the values of x that occur.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    /// Whose section it belongs to.
    pub(super) bench: &'static str,
    pub(super) title: String,
    pub(super) x_label: &'static str,
    pub(super) y_label: &'static str,
    pub(super) is_log_x: bool,
    pub(super) is_log_y: bool,
    pub(super) series: Vec<Series>,
}

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 620.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 400.0;
/// Distinct also for people who see few colours (Okabe and Ito).
const COLOURS: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"];

/// Values along an axis, from where to where, and how they are drawn.
struct Axis {
    from: f64,
    to: f64,
    is_log: bool,
    start: f64,
    end: f64,
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.is_log { value.ln() } else { value };
        let share = (scale(value) - scale(self.from)) / (scale(self.to) - scale(self.from));
        self.start + share * (self.end - self.start)
    }
}

impl Chart {
    pub(super) fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let (mut marks, mut y_values): (Vec<_>, Vec<_>) =
            points().map(|point| (point.x, [point.low, point.high])).unzip();
        marks.sort_by(f64::total_cmp);
        marks.dedup();
        let mut heights = y_values.drain(..).flatten().collect::<Vec<_>>();
        heights.sort_by(f64::total_cmp);
        let (x, y) = self.axes(&marks, &heights);

        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
        );
        svg += &text(
            LEFT,
            28.0,
            "start",
            &format!("<tspan font-size=\"17\">{}</tspan>", escaped(&self.title)),
        );
        for tick in ticks(&y) {
            let at = y.at(tick);
            svg += &line((LEFT, at), (RIGHT, at), "stroke=\"#ddd\"");
            svg += &text(LEFT - 8.0, at + 4.0, "end", &label(tick));
        }
        for &mark in &marks {
            let at = x.at(mark);
            svg += &line((at, BOTTOM), (at, BOTTOM + 5.0), "stroke=\"black\"");
            svg += &text(at, BOTTOM + 20.0, "middle", &label(mark));
        }
        svg += &line((LEFT, BOTTOM), (RIGHT, BOTTOM), "stroke=\"black\"");
        svg += &line((LEFT, TOP), (LEFT, BOTTOM), "stroke=\"black\"");
        svg += &text(f64::midpoint(LEFT, RIGHT), BOTTOM + 44.0, "middle", &escaped(self.x_label));
        svg += &format!(
            "<text transform=\"translate(18 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
            f64::midpoint(TOP, BOTTOM),
            escaped(self.y_label)
        );
        let (mut colours, mut colour) = (COLOURS.iter().cycle(), "#888");
        for (n, series) in self.series.iter().enumerate() {
            // A goal is that of the line before it, or of all.
            if series.style != Style::Goal {
                colour = colours.next().expect("there is always another");
            }
            svg += &drawn(series, colour, &x, &y);
            let height = TOP + 14.0 + 22.0 * n as f64;
            let stroke = stroke(series.style, colour);
            svg += &line((RIGHT + 16.0, height), (RIGHT + 44.0, height), &stroke);
            svg += &text(RIGHT + 52.0, height + 4.0, "start", &escaped(&series.name));
        }
        svg + "</svg>\n"
    }

    /// Axes that hold all values, both sorted.
    fn axes(&self, marks: &[f64], heights: &[f64]) -> (Axis, Axis) {
        let ends = |values: &[f64]| {
            (values.first().copied().unwrap_or(1.0), values.last().copied().unwrap_or(2.0))
        };
        let ((left, right), (low, high)) = (ends(marks), ends(heights));
        let pad = if self.is_log_x { (right / left).powf(0.05).max(1.1) } else { 0.0 };
        let wide = (right - left).max(1.0) * 0.05;
        let (from, to) =
            if self.is_log_x { (left / pad, right * pad) } else { (left - wide, right + wide) };
        let x = Axis { from, to, is_log: self.is_log_x, start: LEFT, end: RIGHT };
        let (from, to) =
            if self.is_log_y { (low.max(0.01) / 1.3, high * 1.3) } else { (0.0, high * 1.1) };
        (x, Axis { from, to, is_log: self.is_log_y, start: BOTTOM, end: TOP })
    }
}

/// A series: its line, and a whisker for each point that has bounds.
fn drawn(series: &Series, colour: &str, x: &Axis, y: &Axis) -> String {
    let stroke = stroke(series.style, colour);
    let places: Vec<_> = series
        .points
        .iter()
        .map(|point| format!("{:.1},{:.1}", x.at(point.x), y.at(point.y)))
        .collect();
    let mut svg = format!("<polyline points=\"{}\" fill=\"none\" {stroke}/>\n", places.join(" "));
    for point in &series.points {
        let (at, low, high) = (x.at(point.x), y.at(point.low), y.at(point.high));
        if series.style != Style::Goal {
            svg += &format!(
                "<circle cx=\"{at:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>\n",
                y.at(point.y)
            );
        }
        if low - high > 1.0 {
            let thin = format!("stroke=\"{colour}\"");
            svg += &line((at, low), (at, high), &thin);
            for end in [low, high] {
                svg += &line((at - 4.0, end), (at + 4.0, end), &thin);
            }
        }
    }
    svg
}

fn stroke(style: Style, colour: &str) -> String {
    let dashes = match style {
        Style::Measured => "",
        Style::Published => " stroke-dasharray=\"7 4\"",
        Style::Goal => " stroke-dasharray=\"2 4\"",
    };
    format!("stroke=\"{colour}\" stroke-width=\"2\"{dashes}")
}

fn line(from: (f64, f64), to: (f64, f64), stroke: &str) -> String {
    format!(
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" {stroke}/>\n",
        from.0, from.1, to.0, to.1
    )
}

fn text(x: f64, y: f64, anchor: &str, words: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>\n")
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Round values of an axis.
fn ticks(axis: &Axis) -> Vec<f64> {
    if axis.is_log {
        let decades = axis.from.log10().floor() as i32..=axis.to.log10().ceil() as i32;
        let values =
            decades.flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
        return values.filter(|&value| value >= axis.from && value <= axis.to).collect();
    }
    let rough = (axis.to - axis.from) / 6.0;
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
    let step = steps.into_iter().find(|&step| step >= rough).unwrap_or(rough);
    (0..).map(|n| f64::from(n) * step).take_while(|&value| value <= axis.to).collect()
}

/// A number as axes show it: in binary units when it is a round one, as table sizes are.
pub(super) fn label(value: f64) -> String {
    const KI: f64 = 1024.0;
    for (unit, name) in [(KI * KI, " Mi"), (KI, " Ki")] {
        if value >= unit && value % unit == 0.0 {
            return format!("{}{name}", value / unit);
        }
    }
    let rounded = (value * 100.0).round() / 100.0;
    if value >= 10_000.0 { format!("{} k", value / 1000.0) } else { format!("{rounded}") }
}
