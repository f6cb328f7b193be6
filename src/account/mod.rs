//! Who?
//!
//! An account's names (`email`, `identity`), the names the older tool gave to its files
//! (`legacy_name`) and the order of the copies of one login (`login`).

mod email;
mod identity;
mod legacy_name;
mod login;

pub use self::email::{Email, InvalidEmail};
pub use self::identity::{
    Account, AccountKey, Alias, InvalidKey, Named, NotNamed, label, name, whole_name,
};
pub use self::legacy_name::{LegacyName, Misnamed, NoSuchDay};
pub use self::login::{
    Fingerprint, InvalidFingerprint, InvalidRefreshed, Login, Order, Refreshed, Secret,
};
