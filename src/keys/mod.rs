//! Keys of users: authorized_keys as a document.
//!
//! Text in, values out: nothing here opens a socket or asks anybody. What is done with it on hosts is `task::rollout`.

pub mod authorized;
