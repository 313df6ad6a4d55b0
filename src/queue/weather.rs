//! Whether Redis can be reached, as all connections of a worker see it: away as long as it is away for one of them.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::store::{Absence, Place, StoreError};

/// What a connection is for. Each worker has one of each, on a thread of its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Errand {
    Take,
    Store,
    Beat,
}

#[derive(Debug)]
pub(super) struct Weather {
    patience: Duration,
    sky: Mutex<Sky>,
}

#[derive(Debug, Default)]
struct Sky {
    absence: Absence,
    away: [bool; 3],
}

impl Weather {
    pub(super) fn new(patience: Duration) -> Self {
        Weather {
            patience,
            sky: Mutex::default(),
        }
    }

    pub(super) fn is_away(&self) -> bool {
        self.sky.lock().away.contains(&true)
    }

    /// It does not answer. Returns when to ask again.
    pub(super) fn is_bad(
        &self,
        errand: Errand,
        now: Instant,
        error: StoreError,
    ) -> Result<Instant, StoreError> {
        let sky = &mut *self.sky.lock();
        sky.away[errand as usize] = true;
        sky.absence.put_off(now, self.patience, error)
    }

    /// It has answered.
    pub(super) fn is_good(&self, errand: Errand, now: Instant, place: &Place) {
        let sky = &mut *self.sky.lock();
        sky.away[errand as usize] = false;
        if !sky.away.contains(&true) {
            sky.absence.is_over(now, place);
        }
    }

    /// Nobody asks on this errand any more.
    pub(super) fn is_of_no_interest(&self, errand: Errand) {
        self.sky.lock().away[errand as usize] = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_away_until_it_has_answered_all_who_found_it_away() {
        let place = Place::parse("redis://h", None).unwrap();
        let away = || StoreError::Unreachable {
            place: place.clone(),
            why: "refused".into(),
        };
        let (weather, start) = (Weather::new(Duration::from_secs(60)), Instant::now());
        assert!(!weather.is_away());
        let again = weather.is_bad(Errand::Take, start, away()).unwrap();
        assert!(again > start && weather.is_away());
        weather.is_bad(Errand::Store, start, away()).unwrap();
        weather.is_good(Errand::Take, again, &place);
        weather.is_good(Errand::Beat, again, &place);
        assert!(weather.is_away(), "nothing can be stored yet");
        weather.is_good(Errand::Store, again, &place);
        assert!(!weather.is_away());
    }

    #[test]
    fn patience_counts_from_the_first_time() {
        let place = Place::parse("redis://h", None).unwrap();
        let away = || StoreError::Unreachable {
            place: place.clone(),
            why: "refused".into(),
        };
        let (weather, start) = (Weather::new(Duration::from_secs(60)), Instant::now());
        weather.is_bad(Errand::Take, start, away()).unwrap();
        let later = start + Duration::from_secs(61);
        assert!(matches!(
            weather.is_bad(Errand::Store, later, away()),
            Err(StoreError::Away { .. })
        ));
    }
}
