//! Drills on request.
//!
//! Hazard: a drill that fails and is answered like a call that failed says nothing of which. Its verdict is a document.

use super::{Caller, Service};
use crate::actors::problems;
use crate::actors::verifier::Drill;
use crate::api::{DrillOutcome, Problem};

impl Service {
    /// Rehearses the restore of a set's newest good backup. A drill that fails is an outcome, not a problem.
    pub async fn drill(&self, set: &str, caller: &Caller) -> Result<DrillOutcome, Problem> {
        let set = self.configured(set)?;
        self.until_working().await?;
        let message = Drill { set, caller: caller.clone() };
        self.verifier.send(message).await.map_err(|_| problems::of_silence("verifier"))?
    }
}
