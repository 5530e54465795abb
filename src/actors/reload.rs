//! Other settings for the running service.
//!
//! Hazard: settings that are half in force. They are taken up whole or not at all, and either is told; what is under
//! way ends with the settings it began with.

use std::path::PathBuf;
use std::sync::Arc;

use super::Running;
use super::herald::About;
use super::problems::chain;
use super::scheduler::Wake;
use super::service::Caller;
use crate::repository::layout;
use crate::repository::state::Loaded;
use crate::settings::{KEPT, KeptSettings, Reloaded, Settings, SettingsErrors};
use crate::storage::Durability;
use crate::telemetry::Event;

/// The kept settings' name in the repository.
pub const STATE: &str = "settings";

impl Running {
    /// Keeps the settings that loaded, for a start on which they do not.
    pub async fn keep_settings(&self, settings: &Settings) {
        let Some(kept) = KeptSettings::of(settings) else { return self.mention_earlier_settings().await };
        let world = self.world.clone();
        let work = tokio::task::spawn_blocking(move || {
            let directory = world.settings().log_directory.clone();
            if let Err(error) = kept.keep_in(&directory) {
                tracing::warn!("the settings are not kept in {}: {error}", directory.join(KEPT).display());
            }
            if world.repository.is_vacant() {
                return;
            }
            let there: Option<KeptSettings> = world.repository.load_state(STATE).ok().and_then(Loaded::value);
            if there.as_ref() != Some(&kept)
                && let Err(error) = world.repository.save_private_state(STATE, &kept, Durability::Durable)
            {
                tracing::warn!("the settings are not kept in the repository: {}", chain(&error));
            }
        });
        if work.await.is_err() {
            tracing::error!("keeping the settings panicked");
        }
    }

    /// A file that is gone may have been lost: the copies of it stay, and whoever removed it on purpose is told of them.
    async fn mention_earlier_settings(&self) {
        let world = self.world.clone();
        let look = tokio::task::spawn_blocking(move || {
            let beside = world.settings().log_directory.join(KEPT);
            let inside: Option<KeptSettings> = world.repository.load_state(STATE).ok().and_then(Loaded::value);
            let inside = inside.map(|_| PathBuf::from(world.repository.location()).join(layout::state(STATE).as_str()));
            [beside.exists().then_some(beside), inside].into_iter().flatten().collect::<Vec<_>>()
        });
        let Ok(copies) = look.await else { return };
        if !copies.is_empty() {
            let copies: Vec<String> = copies.iter().map(|copy| copy.display().to_string()).collect();
            tracing::warn!(
                "there is no settings file, and there was one: an emergency start would use its copy. If it was removed \
                 on purpose, delete {}",
                copies.join(" and ")
            );
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.world.settings()
    }

    /// Takes up what was loaded, or tells why the settings in force stay; returns the settings if they were taken up.
    pub async fn reload(&self, loaded: Result<Reloaded, SettingsErrors>, principal: &'static str) -> Option<Settings> {
        let about = About::caller(&Caller::component(principal));
        let taken_up = match loaded {
            Ok(Reloaded { asked, in_force, changes }) => {
                self.world.set_settings(in_force);
                self.world.set_rejected_settings(None);
                if let Some(scheduler) = &self.scheduler {
                    scheduler.do_send(Wake);
                }
                // Unrecorded: the auditor keeps the record and says so.
                let _ = self.herald.tell(Event::SettingsReloaded { changes }, &about).await;
                Some(asked)
            }
            Err(errors) => {
                let lines: Vec<String> = errors.lines().iter().map(ToString::to_string).collect();
                self.world.set_rejected_settings(Some(errors.summary()));
                let _ = self.herald.tell(Event::SettingsRejected { errors: lines }, &about).await;
                None
            }
        };
        self.world.reassess();
        taken_up
    }
}
