//! Whose turn it is.
//!
//! Hazard: a call that waits for longer than anybody wants its result. It waits until its turn comes, its patience ends,
//! the service stops or its caller leaves, whichever is first.

use super::{BackUp, Backed, Restore, Tools};
use crate::actors::problems;
use crate::actors::service::Caller;
use crate::actors::turns::{NoTurn, Share};
use crate::api::Problem;
use crate::core::{BackupKind, SetName};
use crate::pipeline::restore::Restored;

impl Tools {
    /// Waits for the turn at a set, unless the service stops or the caller leaves.
    async fn turn<T>(
        &self,
        caller: &Caller,
        set: &SetName,
        turn: impl Future<Output = Result<T, NoTurn>>,
    ) -> Result<T, Problem> {
        tokio::select! {
            biased;
            () = self.world.stopping() => Err(problems::stopping()),
            () = caller.presence.left() => Err(problems::caller_left(set)),
            turn = turn => turn.map_err(|why| problems::of_no_turn(set, why)),
        }
    }

    /// Backs up when it is the caller's turn, or takes the result of a run that began after the call arrived.
    pub(super) async fn back_up_in_turn(&self, message: BackUp) -> Backed {
        let (set, caller) = (&message.set.name, &message.caller);
        if message.kind == BackupKind::Scheduled {
            // The Scheduler looks again by itself.
            let turn = self.turns.at_once(set).ok_or_else(|| problems::busy(set))?;
            return self.back_up(message, turn, None).await;
        }
        match self.turn(caller, set, self.turns.share(set)).await? {
            Share::Run(turn, run) => {
                // Of the calls that share the run some may have come after a reload.
                let set = self.world.set(set).unwrap_or_else(|| message.set.clone());
                self.back_up(BackUp { set, ..message }, turn, Some(run)).await
            }
            Share::Result(result) => {
                tracing::debug!(%set, caller.correlation_id, "a backup that began after the call answers it");
                result
            }
        }
    }

    /// Restores when it is the caller's turn.
    pub(super) async fn restore_in_turn(self, message: Restore) -> Result<Restored, Problem> {
        let set = &message.set.name;
        let turn = self.turn(&message.caller, set, self.turns.alone(set)).await?;
        let occupied = self.world.occupy(set, turn);
        // A task of its own: it comes to its end though this actor is restarted.
        let task = actix_rt::spawn(async move { self.restore(message, occupied).await });
        task.await.map_err(|_| problems::of_silence("archiver"))?
    }
}
