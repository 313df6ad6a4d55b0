//! What is read, and what is refused.

use super::*;
use clap::CommandFactory;

#[test]
fn the_definitions_hold_together() {
    Args::command().debug_assert();
}

#[test]
fn durations_are_read_as_people_write_them() {
    let table = [("500ms", 500), ("2s", 2000), ("1m30s", 90_000), ("15m", 900_000), ("1h", 3_600_000)];
    for (text, ms) in table {
        assert_eq!(duration(text), Ok(Duration::from_millis(ms)));
    }
    for bad in ["", "5", "-1s", "0s", "soon", "8761h", "99999999999999999h"] {
        assert!(duration(bad).is_err(), "{bad}");
    }
}

#[test]
fn parameters_are_json() {
    let param: Param = "stop=[\"a=b\"]".parse().unwrap();
    assert_eq!((param.name.as_str(), param.value), ("stop", serde_json::json!(["a=b"])));
    assert!("user=me".parse::<Param>().unwrap_err().contains("'user=\"…\"'"));
    assert!("=1".parse::<Param>().is_err());
}

#[test]
fn workers_are_a_number_or_auto() {
    assert!(matches!("auto".parse(), Ok(Workers::Auto)));
    assert!(matches!("16".parse(), Ok(Workers::Fixed(n)) if n.get() == 16));
    assert!("0".parse::<Workers>().is_err() && "99999".parse::<Workers>().is_err());
}

#[test]
fn an_outage_has_a_beginning_a_length_and_perhaps_a_status() {
    let expected = Outage { after: Duration::from_secs(10), length: Duration::from_secs(5), status: 503 };
    assert_eq!(outage("10s,5s"), Ok(expected));
    assert_eq!(outage("10s, 5s, 429"), Ok(Outage { status: 429, ..expected }));
    assert!(outage("10s").is_err() && outage("1s,2s,200").is_err());
}
