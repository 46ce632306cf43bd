//! Dates in a request: the three forms that HTTP has known (RFC 9110 §5.6.7).
//!
//! A date that is malformed is none, and the condition that holds it does not count.

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];
const SHORT_DAYS: [&[u8]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];
const LONG_DAYS: [&[u8]; 7] = [
    b"Sunday",
    b"Monday",
    b"Tuesday",
    b"Wednesday",
    b"Thursday",
    b"Friday",
    b"Saturday",
];

/// Returns the Unix time in seconds that `text` names. `now`, a Unix time too, tells the century of
/// a year of two digits.
pub fn parse(text: &[u8], now: u64) -> Option<u64> {
    match text {
        [_, _, _, b',', ..] => fixed_date(text),
        [_, _, _, b' ', ..] => asctime(text),
        _ => rfc850(text, now),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn fixed_date(text: &[u8]) -> Option<u64> {
    let text: &[u8; 29] = text.try_into().ok()?;
    let is_in_form = SHORT_DAYS.contains(&&text[..3])
        && text[3..5] == *b", "
        && text[7] == b' '
        && text[11] == b' '
        && text[16] == b' '
        && text[25..] == *b" GMT";
    let year = number(&text[12..16])?;
    let days = days(year, month(&text[8..11])?, number(&text[5..7])?)?;
    is_in_form.then_some(days * 86_400 + time(&text[17..25])?)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(text: &[u8], now: u64) -> Option<u64> {
    let comma = text.iter().position(|byte| *byte == b',')?;
    let (day, rest) = text.split_at(comma);
    let rest: &[u8; 24] = rest.try_into().ok()?;
    let is_in_form = LONG_DAYS.contains(&day)
        && rest[..2] == *b", "
        && rest[4] == b'-'
        && rest[8] == b'-'
        && rest[11] == b' '
        && rest[20..] == *b" GMT";
    // More than 50 years in the future means the past.
    let this_year = 1970 + now / 31_556_952;
    let mut year = this_year - this_year % 100 + number(&rest[9..11])?;
    if year > this_year + 50 {
        year -= 100;
    }
    let days = days(year, month(&rest[5..8])?, number(&rest[2..4])?)?;
    is_in_form.then_some(days * 86_400 + time(&rest[12..20])?)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &[u8]) -> Option<u64> {
    let text: &[u8; 24] = text.try_into().ok()?;
    let is_in_form = SHORT_DAYS.contains(&&text[..3])
        && text[3] == b' '
        && text[7] == b' '
        && text[10] == b' '
        && text[19] == b' ';
    let day = match text[8..10] {
        [b' ', digit] => number(&[digit])?,
        _ => number(&text[8..10])?,
    };
    let days = days(number(&text[20..])?, month(&text[4..7])?, day)?;
    is_in_form.then_some(days * 86_400 + time(&text[11..19])?)
}

fn number(digits: &[u8]) -> Option<u64> {
    crate::fields::decimal(digits)
}

/// Returns the month, 1 for January.
fn month(name: &[u8]) -> Option<u64> {
    let place = MONTHS.iter().position(|month| *month == name)?;
    Some(place as u64 + 1)
}

/// Returns the second of the day of `08:49:37`; the leap second 60 counts as the next minute's
/// first.
fn time(text: &[u8]) -> Option<u64> {
    let (hours, minutes) = (number(&text[..2])?, number(&text[3..5])?);
    let seconds = number(&text[6..])?;
    let is_time = text[2] == b':' && text[5] == b':' && hours < 24 && minutes < 60 && seconds <= 60;
    is_time.then_some(hours * 3_600 + minutes * 60 + seconds)
}

/// Returns the days from 1970-01-01 to a date that is not before it.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        2 => 28 + u64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if year < 1970 || day == 0 || day > length {
        return None;
    }
    // Years from March on, so that the leap day is the last of its year; 719,468 days lie between
    // 0000-03-01 and 1970-01-01.
    let (year, month) = match month {
        3.. => (year, month - 3),
        _ => (year - 1, month + 9),
    };
    let of_years = year * 365 + year / 4 - year / 100 + year / 400;
    Some(of_years + (153 * month + 2) / 5 + day - 1 - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use site::date::http_date;

    /// 2026-01-01.
    const NOW: u64 = 1_767_225_600;

    #[test]
    fn all_three_forms_name_the_same_moment() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(text.as_bytes(), NOW), Some(784_111_777), "{text}");
        }
        assert_eq!(parse(b"Fri Nov 16 08:49:37 2001", NOW), Some(1_005_900_577));
    }

    #[test]
    fn a_year_of_two_digits_is_at_most_fifty_years_ahead() {
        let of = |text: &[u8]| http_date(parse(text, NOW).unwrap());
        assert_eq!(&of(b"Sunday, 06-Nov-76 08:49:37 GMT")[12..16], b"2076");
        assert_eq!(&of(b"Sunday, 06-Nov-77 08:49:37 GMT")[12..16], b"1977");
    }

    #[test]
    fn what_the_server_writes_it_reads() {
        let mut moment = 0;
        while moment < 253_402_300_799 {
            assert_eq!(parse(&http_date(moment), NOW), Some(moment));
            moment += 86_399 * 97 + 1;
        }
    }

    #[test]
    fn malformed_dates_are_none() {
        for text in [
            "",
            "yesterday",
            "784111777",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Xyz, 06 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Wed, 29 Feb 2023 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun Nov 06 08:49:37 94",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse(text.as_bytes(), NOW), None, "{text}");
        }
    }
}
