//! The records that the image's tables are made of, decoded and encoded.
//!
//! The fields of a record follow each other without gaps, in the order in which they are written
//! here, each little endian. Nothing is checked here: `check` does that.

/// Defines a record and how it is read and written.
macro_rules! record {
    ($(#[$about:meta])* $name:ident, $bytes:literal,
        { $($(#[$field_about:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name {
            $($(#[$field_about])* pub $field: $kind,)*
        }

        impl $name {
            /// Bytes of one record.
            pub const BYTES: usize = $bytes;

            /// Reads a record.
            #[inline]
            #[allow(unused_assignments, reason = "the last field moves the place, too")]
            pub fn decode(bytes: &[u8; $bytes]) -> Self {
                let mut at = 0;
                $(
                    let $field = <$kind>::from_le_bytes(crate::format::field(bytes, at));
                    at += size_of::<$kind>();
                )*
                $name { $($field,)* }
            }

            /// Writes a record.
            #[allow(unused_assignments, reason = "the last field moves the place, too")]
            pub fn encode(&self) -> [u8; $bytes] {
                let mut bytes = [0; $bytes];
                let mut at = 0;
                $(
                    bytes[at..at + size_of::<$kind>()].copy_from_slice(&self.$field.to_le_bytes());
                    at += size_of::<$kind>();
                )*
                bytes
            }
        }

        const _: () = assert!(0 $(+ size_of::<$kind>())* == $bytes);
    };
}

record! {
    /// A page: one path of one host.
    PageRecord, 32, {
        /// Offset in [`Section::Paths`](crate::format::Section::Paths), in bytes.
        path_at: u32,
        /// Bytes of the path; 0 for pages that answer where no path does, which are not indexed.
        path_bytes: u16,
        /// The host's number.
        host: u16,
        /// Number of the first variant; the others follow it, in the order of their codings.
        first_variant: u32,
        /// Status code of the answer.
        status: u16,
        /// The codings that there are, a bit each: [`Coding::bit`](crate::Coding::bit).
        codings: u8,
        /// The codings from the smallest body to the largest, two bits each, from the lowest up.
        by_size: u8,
        /// Unix time of the last change in seconds, [`NO_TIME`] when there is none.
        modified: u64,
        /// [`PLAIN_PATH`], [`BY_RULE`]; other bits are for later.
        flags: u16,
        /// For later.
        spare: u16,
        /// For later.
        spare_word: u32,
    }
}

/// Flag of a page: in a URI, its path stands for itself; decoding and normalising change nothing.
pub const PLAIN_PATH: u16 = 1;

/// Flag of a page: a rule made it, so rules do not lead to it.
pub const BY_RULE: u16 = 2;

/// The time that means "none".
pub const NO_TIME: u64 = u64::MAX;

record! {
    /// A variant: one response. Where its parts are is shown in [`format`](mod@crate::format);
    /// the `u16` offsets are from the status line.
    VariantRecord, 40, {
        /// Offset of the status line in
        /// [`Section::Responses`](crate::format::Section::Responses), in bytes.
        start: u64,
        /// Bytes of the body.
        body_bytes: u64,
        /// Where the field lines start.
        fields_at: u16,
        /// Where Content-Type's line is; as `rest_at` when there is none.
        type_at: u16,
        /// The first line behind Content-Type.
        rest_at: u16,
        /// The lines that a 304 keeps, to the last one.
        kept_at: u16,
        /// The blank line.
        end_at: u16,
        /// The ETag with its quotes.
        etag_at: u16,
        /// Bytes of the ETag, 0 for none.
        etag_bytes: u16,
        /// Where in Location more may be put in; 0 for nowhere.
        insert_at: u16,
        /// The coding's number.
        coding: u8,
        /// For later.
        spare: u8,
        /// For later.
        spare_half: u16,
        /// For later.
        spare_word: u32,
    }
}

record! {
    /// A host: one of the sites in the image. Its numbered pages have no path.
    HostRecord, 20, {
        /// The page for paths that no page and no rule has, of status 404.
        not_found: u32,
        /// The page for when the server cannot serve, of status 503.
        unavailable: u32,
        /// The answer to OPTIONS.
        options: u32,
        /// Number of the first rule.
        first_rule: u32,
        /// How many rules follow each other.
        rule_count: u32,
    }
}

record! {
    /// A name of a host, in lower case. One that starts with a dot stands for every name that
    /// ends in it and is longer.
    NameRecord, 8, {
        /// Offset in [`Section::Text`](crate::format::Section::Text), in bytes.
        at: u32,
        /// Bytes of the name.
        bytes: u16,
        /// The host's number.
        host: u16,
    }
}

record! {
    /// A rule: a pattern of paths, and what becomes of those that match. Its parts follow each
    /// other: pattern before the splat, pattern behind the splat, target.
    RuleRecord, 16, {
        /// Number of the first part.
        first_part: u32,
        /// A page: the redirect without its Location for [`ACTION_MOVED`], the answer for
        /// [`ACTION_PAGE`].
        page: u32,
        /// Parts of the pattern before the splat, or of the whole pattern.
        head_parts: u8,
        /// Parts of the pattern behind the splat.
        tail_parts: u8,
        /// Parts of the target.
        target_parts: u8,
        /// [`NO_SPLAT`], [`SPLAT`] or [`SPLAT_BELOW`].
        splat: u8,
        /// [`ACTION_MOVED`], [`ACTION_PAGE`] or [`ACTION_LOOKUP`].
        action: u8,
        /// For later.
        spare: u8,
        /// For later.
        spare_half: u16,
    }
}

/// The pattern has no splat.
pub const NO_SPLAT: u8 = 0;
/// The splat is whatever is between head and tail.
pub const SPLAT: u8 = 1;
/// The splat is what is below a folder, behind a slash; without the slash it is empty.
pub const SPLAT_BELOW: u8 = 2;

/// A redirect to the target.
pub const ACTION_MOVED: u8 = 0;
/// One page answers for all paths that match.
pub const ACTION_PAGE: u8 = 1;
/// The page whose path is the target answers.
pub const ACTION_LOOKUP: u8 = 2;

record! {
    /// A part of a rule's pattern or target.
    PartRecord, 8, {
        /// Of a literal: offset in [`Section::Text`](crate::format::Section::Text), in bytes; of a
        /// capture: its number.
        at: u32,
        /// Bytes of a literal.
        bytes: u16,
        /// [`LITERAL`], [`SEGMENT`], [`CAPTURE`] or [`QUERY`].
        kind: u8,
        /// For later.
        spare: u8,
    }
}

/// These bytes.
pub const LITERAL: u8 = 0;
/// In a pattern: a segment that is not empty, captured.
pub const SEGMENT: u8 = 1;
/// In a target: what was captured. Captures are numbered in the order of the pattern, the splat
/// among them.
pub const CAPTURE: u8 = 2;
/// In a target: the request's query with its question mark, if it has one.
pub const QUERY: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_encoding_and_decoding() {
        let bytes: [u8; PageRecord::BYTES] = core::array::from_fn(|at| at as u8 + 1);
        let page = PageRecord::decode(&bytes);
        assert_eq!(page.encode(), bytes);
        assert_eq!((page.path_at, page.path_bytes), (0x0403_0201, 0x0605));
        assert_eq!(page.modified, 0x1817_1615_1413_1211);

        let bytes: [u8; VariantRecord::BYTES] = core::array::from_fn(|at| at as u8 + 1);
        let variant = VariantRecord::decode(&bytes);
        assert_eq!(variant.encode(), bytes);
        assert_eq!(variant.start, 0x0807_0605_0403_0201);
        assert_eq!((variant.fields_at, variant.coding), (0x1211, 0x21));
    }
}
