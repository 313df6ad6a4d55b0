//! A call in 16 bytes: its key, when it left, whether it was refused, how long it had waited for its turn, and which
//! record it is in.

/// One call. Calls of many records are held at once, so it is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The key above, then 47 bits of milliseconds since 1970, and whether it was refused: in this order the calls of a
    /// key are together.
    key_and_at: u64,
    paced: u32,
    record: u32,
}

impl Call {
    const BITS: u32 = 48;
    /// The year 6429.
    pub(super) const LATEST: u64 = (1 << (Self::BITS - 1)) - 1;

    /// Keys from 65535 on are one, and a wait is at most 49 days.
    pub(super) fn new(key: usize, at: u64, paced: u64, record: u64) -> Self {
        let key = u64::from(u16::try_from(key).unwrap_or(u16::MAX));
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Call {
            key_and_at: key << Self::BITS | at.min(Self::LATEST) << 1,
            paced: small(paced),
            record: small(record),
        }
    }

    /// The same, refused or not.
    pub(super) fn refused(mut self, was_refused: bool) -> Self {
        self.key_and_at |= u64::from(was_refused);
        self
    }

    pub(super) fn was_refused(&self) -> bool {
        self.key_and_at & 1 == 1
    }

    pub(super) fn key(&self) -> u64 {
        self.key_and_at >> Self::BITS
    }

    /// When it left: milliseconds since 1970.
    pub(super) fn at(&self) -> u64 {
        self.key_and_at >> 1 & Self::LATEST
    }

    /// When it came to stand in line for its turn.
    pub(super) fn asked(&self) -> u64 {
        self.at().saturating_sub(self.paced.into())
    }

    /// The line of the results that its record is.
    pub(super) fn record(&self) -> u64 {
        self.record.into()
    }

    /// Key by key, and of each key in order of departure.
    pub(super) fn sort_by_key(calls: &mut [Call]) {
        calls.sort_unstable_by_key(|call| (call.key_and_at, call.record));
    }

    /// All keys together, in order of departure.
    pub(super) fn sort_by_departure(calls: &mut [Call]) {
        calls.sort_unstable_by_key(Call::at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_takes_16_bytes_and_says_what_it_was_told() {
        assert_eq!(size_of::<Call>(), 16);
        let call = Call::new(3, 1_795_687_200_123, 412, 17);
        assert!(call.refused(true).was_refused() && !call.refused(false).was_refused());
        let call = call.refused(true);
        assert_eq!(
            (call.key(), call.at(), call.asked(), call.record()),
            (3, 1_795_687_200_123, 1_795_687_199_711, 17)
        );
    }

    #[test]
    fn numbers_beyond_all_measure_do_not_run_into_each_other() {
        let call = Call::new(usize::MAX, u64::MAX, u64::MAX, u64::MAX);
        assert_eq!(
            (call.key(), call.at(), call.record()),
            (65_535, Call::LATEST, u32::MAX.into())
        );
    }
}
