//! How many threads may bulk work use?

use std::thread;

/// How many threads bulk work may use, the caller's included; at least one.
///
/// What comes out never depends on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Jobs(usize);

impl Jobs {
    /// The caller's thread alone.
    pub const ONE: Self = Self(1);

    /// So many; 0 means as many as the machine runs at once.
    #[must_use]
    pub fn of(asked: u32) -> Self {
        match usize::try_from(asked) {
            Ok(0) => Self::default(),
            Ok(asked) => Self(asked),
            Err(_) => Self(usize::MAX),
        }
    }

    /// The number.
    #[must_use]
    pub fn count(self) -> usize {
        self.0
    }
}

impl Default for Jobs {
    /// As many as the machine runs at once.
    fn default() -> Self {
        Self(thread::available_parallelism().map_or(1, usize::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_works_without_a_thread() {
        assert_eq!(Jobs::of(3).count(), 3);
        assert_eq!(Jobs::of(1), Jobs::ONE);
        assert!(0 < Jobs::of(0).count());
    }
}
