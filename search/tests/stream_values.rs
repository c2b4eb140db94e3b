//! The recorded words of the streams. A change here makes every recorded task unrepeatable.
//!
//! The words were computed by a second implementation of the documented key and of ChaCha8, so they
//! also hold the documentation of `Stream` to its word.

use trialmill_search::Stream;

fn words(mut stream: Stream) -> [u64; 3] {
    std::array::from_fn(|_| stream.next_u64())
}

#[test]
fn the_words_of_a_stream_are_the_recorded_ones() {
    assert_eq!(
        words(Stream::for_parameter(42, 0, "lookback")),
        [
            0xbf8a_0b76_db14_6349,
            0x5227_4c0b_1eb4_8464,
            0xf9b7_45ef_5db1_ffb8
        ]
    );
    assert_eq!(
        words(Stream::for_parameter((1 << 53) - 1, 999_999, "_")),
        [
            0x2389_cdd2_7909_9cfc,
            0x40c1_9fda_5363_c13a,
            0x9031_5ea6_6e4c_1c3f
        ]
    );
    assert_eq!(
        words(Stream::for_study(42, "grid_order")),
        [
            0xbd96_92d6_c661_0f62,
            0xf098_b4eb_4818_e901,
            0x448f_6005_1785_8767
        ]
    );
}

#[test]
fn seed_number_name_and_purpose_each_change_the_stream() {
    let first = words(Stream::for_parameter(1, 2, "x"));
    assert_ne!(words(Stream::for_parameter(2, 2, "x")), first);
    assert_ne!(words(Stream::for_parameter(1, 1, "x")), first);
    assert_ne!(words(Stream::for_parameter(1, 2, "y")), first);
    assert_ne!(
        words(Stream::for_study(1, "x")),
        words(Stream::for_parameter(1, 0, "x"))
    );
}

#[test]
fn a_unit_float_is_the_upper_53_bits_and_never_one() {
    let mut words = Stream::for_parameter(3, 4, "x");
    let mut floats = words.clone();
    for _ in 0..1_000 {
        let value = floats.unit_f64();
        assert!((0.0..1.0).contains(&value), "{value}");
        assert_eq!(value * (1u64 << 53) as f64, (words.next_u64() >> 11) as f64);
    }
}

#[test]
#[should_panic(expected = "a draw below 0 has no value")]
fn a_draw_below_zero_panics() {
    Stream::for_parameter(0, 0, "x").below(0);
}
