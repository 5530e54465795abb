//! The timelines of a repository, as text.
//!
//! Hazard: where one history departs from another, somebody may miss a backup. What each lacks is said in numbers.

use super::{remark, to_type};
use crate::api::{DepartureDocument, TimelineDocument, TimelinesDocument};
use crate::cli::output::Look;
use crate::cli::text::time;
use crate::core::timeline::DepartureReason;

/// The timelines, and what to do about the newest.
pub fn timelines(document: &TimelinesDocument, _look: &Look) -> String {
    if document.timelines.is_empty() {
        return format!("timeline {}: one unbroken history\n", document.timeline);
    }
    let mut text: String = document.timelines.iter().map(one).collect();
    if document.held {
        text += &remark("nothing is deleted", "until you say that you have seen this:");
        text += &to_type("timeline accept");
    }
    text
}

fn one(timeline: &TimelineDocument) -> String {
    let mut text = format!(
        "timeline {}, since {} UTC, by writer {}\n",
        timeline.timeline,
        time(timeline.began),
        timeline.writer.chars().take(16).collect::<String>(),
    );
    text.extend(timeline.departure.iter().map(departure));
    text
}

fn departure(departure: &DepartureDocument) -> String {
    let known = DepartureReason::of_code(&departure.reason);
    let why = known.map_or(departure.reason.as_str(), |reason| reason.description());
    let mut text = remark(&format!("departs from timeline {}", departure.departs_from), why);
    for (set, (last, above)) in &departure.sets {
        let beyond = match above - last.min(above) {
            0 => String::new(),
            more => format!(", {more} more were known elsewhere"),
        };
        text += &format!("  {set}: up to {last}{beyond}\n");
    }
    text
}
