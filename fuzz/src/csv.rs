use crate::import::{assert_import, read};
use flate2::Crc;
use trialmill_ingest::{Import, ImportError};

/// The name gives the symbol of a file without a column for it.
const NAME: &str = "600519.SH.csv";

/// A file of market data in one of the text forms, also gzipped.
///
/// It is read or refused for a reason of bounded length; the same bytes packed in two gzip members,
/// which come in other pieces, are read as the same; what is read is read again when it is written
/// in our own form. Gives whether it was read.
pub fn csv(data: &[u8]) -> bool {
    let plain = read(NAME, data);
    assert_import(&plain);
    // A file that is packed already, or Parquet, is another when it is packed again.
    if data.starts_with(&[0x1f, 0x8b]) || data.starts_with(b"PAR1") {
        return plain.is_ok();
    }
    let (one, two) = data.split_at(data.len() / 2);
    let packed: Vec<u8> = [one, two].into_iter().flat_map(member).collect();
    assert_same(&plain, &read(NAME, &packed));
    plain.is_ok()
}

/// A gzip member (RFC 1952) whose bytes are stored as they are, in one block of deflate.
fn member(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a block holds 65,535 bytes");
    let mut crc = Crc::new();
    crc.update(bytes);
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    member.extend(length.to_le_bytes());
    member.extend((!length).to_le_bytes());
    member.extend_from_slice(bytes);
    member.extend(crc.sum().to_le_bytes());
    member.extend(crc.amount().to_le_bytes());
    member
}

fn assert_same(plain: &Result<Import, ImportError>, packed: &Result<Import, ImportError>) {
    match (plain, packed) {
        (Ok(plain), Ok(packed)) => assert_eq!(plain, packed),
        (Err(plain), Err(packed)) => assert_eq!(plain.to_string(), packed.to_string()),
        (plain, packed) => panic!("plain: {plain:?}\npacked: {packed:?}"),
    }
}
