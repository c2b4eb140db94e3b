//! The one way in which long columns are added up.

const LANES: usize = 8;

/// The sum of `term` over all rows: eight running sums, row `t` in sum `t mod 8`, added up as a tree
/// at the end. A fixed order, so that the same column always gives the same bits; eight additions
/// that do not wait for each other; and an error that grows with an eighth of the rows.
pub(crate) fn sum_of(values: &[f64], term: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let mut chunks = values.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += term(value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane += term(value);
    }
    tree(lanes)
}

/// The same, where the term also knows the number of the row.
pub(crate) fn sum_of_rows(values: &[f64], term: impl Fn(f64, f64) -> f64) -> f64 {
    const OFFSETS: [f64; LANES] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
    let mut lanes = [0.0; LANES];
    let mut first = 0.0;
    let mut chunks = values.chunks_exact(LANES);
    for chunk in &mut chunks {
        for ((lane, offset), &value) in lanes.iter_mut().zip(OFFSETS).zip(chunk) {
            *lane += term(first + offset, value);
        }
        first += LANES as f64;
    }
    for ((lane, offset), &value) in lanes.iter_mut().zip(OFFSETS).zip(chunks.remainder()) {
        *lane += term(first + offset, value);
    }
    tree(lanes)
}

/// The same over two columns of one length.
pub(crate) fn sum_of_two(a: &[f64], b: &[f64], term: impl Fn(f64, f64) -> f64) -> f64 {
    debug_assert_eq!(a.len(), b.len(), "columns of one length");
    let mut lanes = [0.0; LANES];
    let (mut a_chunks, mut b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in (&mut a_chunks).zip(&mut b_chunks) {
        for (lane, (&a, &b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += term(a, b);
        }
    }
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    for (lane, (&a, &b)) in lanes.iter_mut().zip(rest) {
        *lane += term(a, b);
    }
    tree(lanes)
}

/// The sum of a column.
pub(crate) fn sum(values: &[f64]) -> f64 {
    sum_of(values, |value| value)
}

/// The mean of a column that is not empty.
pub(crate) fn mean(values: &[f64]) -> f64 {
    sum(values) / values.len() as f64
}

fn tree([a, b, c, d, e, f, g, h]: [f64; LANES]) -> f64 {
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_added_once_whatever_the_length() {
        for rows in 0..40 {
            let values: Vec<f64> = (1..=rows).map(f64::from).collect();
            let wanted = f64::from(rows * (rows + 1) / 2);
            assert_eq!(sum(&values), wanted);
            assert_eq!(sum_of(&values, |v| 2.0 * v), 2.0 * wanted);
            let squares: f64 = values.iter().map(|v| (v - 1.0) * v).sum();
            assert_eq!(sum_of_rows(&values, |row, v| row * v), squares);
            assert_eq!(
                sum_of_two(&values, &values, |a, b| a - 3.0 * b),
                -2.0 * wanted
            );
        }
        assert_eq!(mean(&[1.0, 2.0, 6.0]), 3.0);
    }
}
