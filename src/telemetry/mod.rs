//! What the outside sees: one domain event becomes an audit record, a log line and a metric.
//!
//! Hazard: three places that each decide what to tell tell three stories. An [`Occurrence`] is made once; what it says
//! in the audit log, on the console and to Prometheus is decided here and nowhere else.

mod event;
pub mod facts;
mod feed;
mod log_queue;
mod logging;
mod metrics;
mod notice;

pub use event::{Check, Event, Occurrence};
pub use feed::{Feed, Follower, News, Told};
pub use logging::{
    LoggingError, dropped_lines, flush as flush_log, init as init_logging, log, standard_error,
    warnings_on_standard_error,
};
pub use metrics::{Metrics, MetricsError, Notified};
pub use notice::notice;
