//! A walk over the Thrift structures of a file, its footer and its page headers, before the parquet
//! crate reads them. The crate steps over a list of booleans one by one though none of them takes a
//! byte: six bytes that announce two thousand million of them hold it up for seconds, and a file of a
//! megabyte for days. Parquet has no such list in these places, so that a file with one is refused.
//! It also takes room for as many children as an element of the schema announces, and follows them by
//! recursion: a number there ends the process for want of memory, a chain for want of stack. So the
//! tree is checked first.

use parquet::errors::ParquetError;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

/// How deep structures may be nested: as deep as the parquet crate follows them.
const MAX_DEPTH: u8 = 64;

/// The bytes after the footer: its length and the mark `PAR1`.
const TAIL_BYTES: u64 = 8;

/// The field of a page header with the bytes of the page that follows.
const COMPRESSED_PAGE_SIZE: i64 = 3;

/// The field of the footer with the version of the format.
const VERSION: i64 = 1;

/// The field of the footer with the elements of the schema: each before its children.
const SCHEMA: i64 = 2;

/// The field of an element with the number of its children.
const NUM_CHILDREN: i64 = 5;

/// The field of an element with its logical type, a union.
const LOGICAL_TYPE: i64 = 10;

/// The fields of an element up to its logical type, and what they are: the crate reads a known field
/// as what it ought to be, whatever its type says. Where the two differed it would read another file
/// than the one that was checked.
const ELEMENT_FIELDS: [u8; 9] = [
    kind::I32,
    kind::I32,
    kind::I32,
    kind::BINARY,
    kind::I32,
    kind::I32,
    kind::I32,
    kind::I32,
    kind::I32,
];

/// What a field of a variant of the logical type is, if the crate knows it.
const fn logical_field(variant: i64, field: i64) -> Option<&'static [u8]> {
    match (variant, field) {
        // Decimals: scale and precision.
        (5, 1 | 2) => Some(&[kind::I32]),
        // Times and stamps: of UTC or not, and their unit, a union.
        (7 | 8, 1) => Some(&[kind::TRUE, kind::FALSE]),
        (7 | 8, 2) => Some(&[kind::STRUCT]),
        // Integers: width, and signed or not. Variants: their version.
        (10 | 16, 1) => Some(&[kind::BYTE]),
        (10, 2) => Some(&[kind::TRUE, kind::FALSE]),
        // Geometry and geography.
        (17 | 18, 1) => Some(&[kind::BINARY]),
        (18, 2) => Some(&[kind::I32]),
        _ => None,
    }
}

/// Types of Thrift's compact protocol.
mod kind {
    pub const STOP: u8 = 0;
    pub const TRUE: u8 = 1;
    pub const FALSE: u8 = 2;
    pub const BYTE: u8 = 3;
    pub const I16: u8 = 4;
    pub const I32: u8 = 5;
    pub const I64: u8 = 6;
    pub const DOUBLE: u8 = 7;
    pub const BINARY: u8 = 8;
    pub const LIST: u8 = 9;
    pub const SET: u8 = 10;
    pub const MAP: u8 = 11;
    pub const STRUCT: u8 = 12;
    pub const UUID: u8 = 13;
}

/// Checks the footer. A file whose end is not that of Parquet is left to the crate to refuse.
pub fn check_footer(file: &File, file_bytes: u64) -> Result<(), ParquetError> {
    let mut file = file;
    let Some(tail_at) = file_bytes.checked_sub(TAIL_BYTES) else {
        return Ok(());
    };
    file.seek(SeekFrom::Start(tail_at))?;
    let mut length = [0; 4];
    file.read_exact(&mut length)?;
    let length = u64::from(u32::from_le_bytes(length));
    let Some(start) = tail_at.checked_sub(length) else {
        return Ok(());
    };
    file.seek(SeekFrom::Start(start))?;
    Walk::new(BufReader::new(file).take(length)).footer()
}

/// Checks the numbers of children, in the order of the elements, the root first.
fn check_tree(children: &[i64]) -> Result<(), ParquetError> {
    // Of the groups around the element, the outermost first: how many of their children are missing.
    // One that lacks none ends with its last child.
    let mut open: Vec<i64> = Vec::new();
    for (element, &count) in children.iter().enumerate() {
        let left = i64::try_from(children.len() - element - 1).unwrap_or(i64::MAX);
        if !(0..=left).contains(&count) {
            return Err(ParquetError::General(format!(
                "the file is damaged: element {element} of its schema has {count} children, and \
                 {left} elements follow"
            )));
        }
        if let Some(missing) = open.last_mut() {
            *missing -= 1;
        }
        while open.last() == Some(&0) && count == 0 {
            open.pop();
        }
        if count > 0 {
            open.push(count);
        }
        if open.len() > usize::from(MAX_DEPTH) {
            return Err(ParquetError::General(format!(
                "its schema is nested deeper than {MAX_DEPTH}; store flat columns"
            )));
        }
    }
    Ok(())
}

/// Checks the page headers of a column chunk of `length` bytes from `start`.
pub fn check_pages(file: &File, start: u64, length: u64) -> Result<(), ParquetError> {
    let mut file = BufReader::new(file);
    file.seek(SeekFrom::Start(start))?;
    let mut left = length;
    while left > 0 {
        let mut walk = Walk::new((&mut file).take(left));
        let size = walk.structure(MAX_DEPTH, Some(COMPRESSED_PAGE_SIZE))?;
        let taken = walk.taken;
        let page = size.filter(|size| *size >= 0).ok_or_else(damaged)?;
        file.seek_relative(page)?;
        left = taken
            .checked_add(page.unsigned_abs())
            .and_then(|passed| left.checked_sub(passed))
            .ok_or_else(damaged)?;
    }
    Ok(())
}

fn damaged() -> ParquetError {
    ParquetError::General("the file is damaged: a structure of it cannot be read".to_owned())
}

/// Every step takes at least a byte, so that a walk takes no longer than its input.
struct Walk<R> {
    input: R,
    /// Bytes passed.
    taken: u64,
}

impl<R: Read> Walk<R> {
    fn new(input: R) -> Self {
        Self { input, taken: 0 }
    }

    fn byte(&mut self) -> Result<u8, ParquetError> {
        let mut byte = [0];
        self.input.read_exact(&mut byte).map_err(|_| damaged())?;
        self.taken += 1;
        Ok(byte[0])
    }

    fn pass(&mut self, bytes: u64) -> Result<(), ParquetError> {
        let passed = io::copy(&mut (&mut self.input).take(bytes), &mut io::sink())?;
        self.taken += passed;
        if passed == bytes {
            Ok(())
        } else {
            Err(damaged())
        }
    }

    fn varint(&mut self) -> Result<u64, ParquetError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged())
    }

    fn zigzag(&mut self) -> Result<i64, ParquetError> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Passes over the footer and checks its schema, which only the version may precede. The crate
    /// reads the first schema and skips others.
    fn footer(&mut self) -> Result<(), ParquetError> {
        let (mut field, mut has_schema) = (0, false);
        while let Some((next, kind)) = self.field(field)? {
            field = next;
            match (field, kind) {
                (SCHEMA, kind::LIST) if !has_schema => {
                    has_schema = true;
                    let (length, of) = self.list()?;
                    if of != kind::STRUCT {
                        return Err(damaged());
                    }
                    let mut children = Vec::new();
                    for _ in 0..length {
                        children.push(self.element()?);
                    }
                    check_tree(&children)?;
                }
                (VERSION, kind::I32) => self.value(kind, MAX_DEPTH)?,
                _ if !has_schema => return Err(damaged()),
                _ => self.value(kind, MAX_DEPTH)?,
            }
        }
        if has_schema { Ok(()) } else { Err(damaged()) }
    }

    /// Passes over an element of the schema; the number of its children.
    fn element(&mut self) -> Result<i64, ParquetError> {
        let (mut field, mut children) = (0, 0);
        while let Some((next, kind)) = self.field(field)? {
            field = next;
            let known = usize::try_from(field - 1).ok();
            let known = known.and_then(|place| ELEMENT_FIELDS.get(place));
            if known.is_some_and(|known| *known != kind) {
                return Err(damaged());
            }
            match field {
                NUM_CHILDREN => children = self.zigzag()?,
                LOGICAL_TYPE => self.logical_type(kind)?,
                _ => self.value(kind, MAX_DEPTH)?,
            }
        }
        Ok(children)
    }

    /// Passes over a logical type.
    fn logical_type(&mut self, kind: u8) -> Result<(), ParquetError> {
        if kind != kind::STRUCT {
            return Err(damaged());
        }
        let mut variant = 0;
        while let Some((next, kind)) = self.field(variant)? {
            variant = next;
            if kind != kind::STRUCT {
                return Err(damaged());
            }
            let mut field = 0;
            while let Some((next, kind)) = self.field(field)? {
                field = next;
                let known = logical_field(variant, field);
                if known.is_some_and(|known| !known.contains(&kind)) {
                    return Err(damaged());
                }
                self.value(kind, MAX_DEPTH)?;
            }
        }
        Ok(())
    }

    /// The number and the type of the field that follows the field `last`; nothing at the end of its
    /// structure.
    fn field(&mut self, last: i64) -> Result<Option<(i64, u8)>, ParquetError> {
        let head = self.byte()?;
        let (step, kind) = (head >> 4, head & 0xf);
        if kind == kind::STOP {
            return Ok(None);
        }
        let field = match step {
            0 => self.zigzag()?,
            step => last.saturating_add(i64::from(step)),
        };
        // The crate keeps sixteen bits of a number.
        if !(1..=i64::from(i16::MAX)).contains(&field) {
            return Err(damaged());
        }
        Ok(Some((field, kind)))
    }

    /// Length and type of the elements of a list.
    fn list(&mut self) -> Result<(u64, u8), ParquetError> {
        let head = self.byte()?;
        let length = match head >> 4 {
            15 => self.varint()?,
            short => u64::from(short),
        };
        Ok((length, head & 0xf))
    }

    /// Passes over a structure; gives its whole number of the field `wanted`.
    fn structure(&mut self, depth: u8, wanted: Option<i64>) -> Result<Option<i64>, ParquetError> {
        let (mut field, mut found) = (0_i64, None);
        while let Some((next, kind)) = self.field(field)? {
            field = next;
            if wanted == Some(field) && kind == kind::I32 {
                found = Some(self.zigzag()?);
            } else {
                self.value(kind, depth)?;
            }
        }
        Ok(found)
    }

    fn value(&mut self, kind: u8, depth: u8) -> Result<(), ParquetError> {
        let inner = depth.checked_sub(1).ok_or_else(damaged)?;
        match kind {
            kind::TRUE | kind::FALSE => Ok(()),
            kind::BYTE => self.byte().map(drop),
            kind::I16 | kind::I32 | kind::I64 => self.varint().map(drop),
            kind::DOUBLE => self.pass(8),
            kind::UUID => self.pass(16),
            kind::BINARY => {
                let length = self.varint()?;
                self.pass(length)
            }
            kind::LIST | kind::SET => {
                let (length, of) = self.list()?;
                self.elements(length, &[of], inner)
            }
            kind::MAP => match self.varint()? {
                0 => Ok(()),
                length => {
                    let kinds = self.byte()?;
                    self.elements(length, &[kinds >> 4, kinds & 0xf], inner)
                }
            },
            kind::STRUCT => self.structure(inner, None).map(drop),
            _ => Err(damaged()),
        }
    }

    fn elements(&mut self, length: u64, kinds: &[u8], depth: u8) -> Result<(), ParquetError> {
        if length > 0
            && kinds
                .iter()
                .any(|kind| [kind::TRUE, kind::FALSE].contains(kind))
        {
            return Err(ParquetError::General(
                "the file is damaged: a list of booleans stands where Parquet has none".to_owned(),
            ));
        }
        for _ in 0..length {
            for kind in kinds {
                self.value(*kind, depth)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(bytes: &[u8]) -> Result<Option<i64>, String> {
        let mut walk = Walk::new(bytes);
        walk.structure(MAX_DEPTH, Some(COMPRESSED_PAGE_SIZE))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_wanted_number_is_found_among_other_fields() {
        // Field 1: i32 0; field 2: i32 70; field 3: i32 70; field 5: {1: true}; stop.
        let bytes = [0x15, 0, 0x15, 0x8c, 1, 0x15, 0x8c, 1, 0x2c, 0x11, 0, 0];
        assert_eq!(walk(&bytes), Ok(Some(70)));
        assert!(walk(&bytes[..11]).is_err(), "it has no end");
    }

    #[test]
    fn a_list_whose_elements_take_no_byte_is_refused_whatever_its_length_says() {
        let endless = [0x19, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x07, 0];
        assert!(walk(&endless).unwrap_err().contains("list of booleans"));
        let map = [0x1b, 0xff, 0xff, 0xff, 0xff, 0x07, 0x12, 0];
        assert!(walk(&map).unwrap_err().contains("list of booleans"));
        assert_eq!(walk(&[0x19, 0x01, 0]), Ok(None), "an empty one is none");
    }

    fn footer(bytes: &[u8]) -> Result<(), String> {
        Walk::new(bytes).footer().map_err(|error| error.to_string())
    }

    #[test]
    fn a_schema_may_have_as_many_children_as_elements_and_no_more() {
        // Version 1; a list of three elements: name "m", two children; names "a" and "b".
        let sound = b"\x15\x02\x19\x3c\x48\x01m\x15\x04\x00\x48\x01a\x00\x48\x01b\x00\x00";
        assert_eq!(footer(sound), Ok(()));
        let mut greedy = sound.to_vec();
        greedy.splice(8..9, [0xf2, 0xff, 0xea, 0xeb, 0x05]);
        let said = footer(&greedy).unwrap_err();
        assert!(said.contains("children, and 2 elements follow"), "{said}");
        let mut below = sound.to_vec();
        below[8] = 1;
        assert!(footer(&below).unwrap_err().contains("has -1 children"));
    }

    #[test]
    fn a_schema_that_the_crate_would_read_differently_is_refused() {
        let element = |inside: &[u8]| {
            let parts: [&[u8]; 3] = [b"\x15\x02\x19\x1c\x48\x01m", inside, b"\x00\x00"];
            footer(&parts.concat())
        };
        assert_eq!(element(b""), Ok(()));
        // Children as a number of 64 bits, and under a number that is 5 in sixteen bits.
        assert!(element(b"\x16\x00").is_err());
        assert!(element(b"\x05\x8a\x80\x08\x00").is_err());
        // A decimal: scale 2, precision 9; then its scale as bytes.
        assert_eq!(element(b"\x6c\x5c\x15\x04\x15\x12\x00\x00"), Ok(()));
        assert!(element(b"\x6c\x5c\x18\x01x\x00\x00").is_err());
        // A stamp of UTC in milliseconds; then a unit that is no structure.
        assert_eq!(element(b"\x6c\x8c\x11\x1c\x1c\x00\x00\x00\x00"), Ok(()));
        assert!(element(b"\x6c\x8c\x11\x15\x02\x00\x00").is_err());
        // No schema; a version that is bytes; something else before the schema.
        assert!(footer(b"\x15\x02\x00").is_err());
        assert!(footer(b"\x18\x01x\x19\x1c\x48\x01m\x00\x00").is_err());
        assert!(footer(b"\x36\x02\x02\x04\x19\x1c\x48\x01m\x00\x00").is_err());
    }

    #[test]
    fn a_schema_is_as_deep_as_its_bound_and_no_deeper() {
        let chain = |depth: usize| [vec![1; depth], vec![0]].concat();
        assert!(check_tree(&chain(64)).is_ok());
        let said = check_tree(&chain(65)).unwrap_err().to_string();
        assert!(said.contains("nested deeper than 64"), "{said}");
        // Two levels, however many elements; the last child of a group ends it.
        let wide = [vec![100], [1, 0].repeat(100)].concat();
        assert!(check_tree(&wide).is_ok());
        let stairs = [2, 0].repeat(64);
        assert!(check_tree(&[stairs.clone(), vec![0]].concat()).is_ok());
        let too_high = [stairs, vec![2, 0, 0]].concat();
        assert!(check_tree(&too_high).is_err());
    }

    #[test]
    fn nesting_ends_at_its_bound() {
        let mut deep = vec![0x1c; 64];
        deep.extend([0; 65]);
        assert_eq!(walk(&deep), Ok(None));
        let mut deeper = vec![0x1c; 65];
        deeper.extend([0; 66]);
        assert!(walk(&deeper).is_err());
    }
}
