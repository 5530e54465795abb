//! What can be done with keys.
//!
//! Hazard: a recipient with a typing error, for whom everything is encrypted from then on. One that cannot be is refused.

use clap::Subcommand;

use crate::cli::examples;
use crate::keys::is_recipient;

/// The keys.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Key {
    /// Make an identity, which opens backups; one that is there is never written over
    #[command(after_help = examples::KEY_INIT)]
    Init,
    /// Encrypt for one more from the next backup on
    #[command(after_help = examples::KEY_ADD)]
    AddRecipient {
        /// The recipient: age1…, as `key init` and age-keygen print it
        #[arg(value_parser = recipient)]
        recipient: String,
    },
    /// Encrypt no longer for this one; what is encrypted for it stays so
    #[command(after_help = examples::KEY_REMOVE)]
    RemoveRecipient {
        /// The recipient, or its fingerprint as `key list` shows it
        recipient: String,
    },
    /// Show every key, and how many backups it opens
    #[command(after_help = examples::KEY_LIST)]
    #[command(visible_alias = "show")]
    List,
    /// Open the newest backup of each set with the identity at hand
    #[command(after_help = examples::KEY_CHECK)]
    Check,
}

fn recipient(text: &str) -> Result<String, String> {
    if is_recipient(text) {
        Ok(text.to_owned())
    } else {
        Err("a recipient is age1 and 58 more characters, as `key init` and age-keygen print it".to_owned())
    }
}
