//! The square root of a covariance matrix.

/// A triangular matrix `L` with `L L' = C`, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cholesky {
    size: usize,
    rows: Vec<f64>,
}

/// The largest ratio of two squared diagonal elements of `L`. It is at most the condition number of
/// `C`, and beyond this, little is left of the smaller one but rounding.
const WORST_RATIO: f64 = 1e14;

impl Cholesky {
    /// Of the unit matrix.
    pub(super) fn unit(size: usize) -> Self {
        let mut rows = vec![0.0; size * size];
        for at in 0..size {
            rows[at * size + at] = 1.0;
        }
        Self { size, rows }
    }

    /// Of a symmetric matrix, row by row, of which only the lower triangle is read. `None` if it is
    /// not positive definite, or is so by rounding alone.
    pub(super) fn of(matrix: &[f64], size: usize) -> Option<Self> {
        let mut rows = vec![0.0; size * size];
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for row in 0..size {
            let (above, below) = rows.split_at_mut(row * size);
            let this = &mut below[..size];
            for column in 0..row {
                let other = &above[column * size..][..size];
                let known = dot(&this[..column], &other[..column]);
                this[column] = (matrix[row * size + column] - known) / other[column];
            }
            let pivot = matrix[row * size + row] - dot(&this[..row], &this[..row]);
            (least, most) = (least.min(pivot), most.max(pivot));
            if !(pivot > 0.0 && pivot < f64::INFINITY && most <= least * WORST_RATIO) {
                return None;
            }
            this[row] = pivot.sqrt();
        }
        Some(Self { size, rows })
    }

    /// `L z`: a draw of covariance `C` from one of independent coordinates.
    pub(super) fn colour(&self, z: &[f64]) -> Vec<f64> {
        let rows = self.rows.chunks_exact(self.size.max(1)).enumerate();
        rows.map(|(row, of)| dot(&of[..=row], &z[..=row])).collect()
    }

    /// `L^-1 y`: the reverse of [`colour`](Self::colour).
    pub(super) fn whiten(&self, y: &[f64]) -> Vec<f64> {
        let mut z = Vec::with_capacity(y.len());
        let rows = self.rows.chunks_exact(self.size.max(1));
        for (row, (of, y)) in rows.zip(y).enumerate() {
            z.push((y - dot(&of[..row], &z)) / of[row]);
        }
        z
    }
}

/// The sum of products of two lists of one length.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the encyclopedias: whole numbers, so no rounding.
    const MATRIX: [f64; 9] = [4.0, 12.0, -16.0, 12.0, 37.0, -43.0, -16.0, -43.0, 98.0];

    #[test]
    fn the_root_of_a_known_matrix_is_the_known_one() {
        let root = Cholesky::of(&MATRIX, 3).unwrap();
        assert_eq!(root.rows, [2.0, 0.0, 0.0, 6.0, 1.0, 0.0, -8.0, 5.0, 3.0]);
        assert_eq!(root.colour(&[1.0, 2.0, 3.0]), [2.0, 8.0, 11.0]);
        assert_eq!(root.whiten(&[2.0, 8.0, 11.0]), [1.0, 2.0, 3.0]);
        assert_eq!(
            Cholesky::of(&[1.0, 0.0, 0.0, 1.0], 2),
            Some(Cholesky::unit(2))
        );
    }

    #[test]
    fn the_root_times_itself_is_the_matrix_and_whitening_undoes_colouring() {
        // C = B B' + 0.1 for a matrix B without pattern.
        let n = 30;
        let b: Vec<f64> = (0..n * n).map(|k| libm::sin(k as f64 * 1.7)).collect();
        let mut c = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                c[i * n + j] = dot(&b[i * n..][..n], &b[j * n..][..n]);
            }
            c[i * n + i] += 0.1;
        }
        let root = Cholesky::of(&c, n).unwrap();
        for i in 0..n {
            for j in 0..=i {
                let again = dot(&root.rows[i * n..][..n], &root.rows[j * n..][..n]);
                assert!((again - c[i * n + j]).abs() < 1e-11, "{i} {j}");
            }
        }
        let z: Vec<f64> = (0..n).map(|k| k as f64 - 11.5).collect();
        for (again, z) in root.whiten(&root.colour(&z)).iter().zip(&z) {
            assert!((again - z).abs() < 1e-9);
        }
    }

    #[test]
    fn a_matrix_that_is_no_covariance_has_no_root() {
        let of = |matrix: &[f64]| Cholesky::of(matrix, 2);
        assert_eq!(of(&[1.0, 0.0, 2.0, 1.0]), None, "indefinite");
        assert_eq!(of(&[1.0, 0.0, 1.0, 1.0]), None, "singular");
        assert_eq!(of(&[1.0, 0.0, 0.0, 1e-15]), None, "nearly singular");
        assert_eq!(of(&[1e-15, 0.0, 0.0, 1.0]), None, "nearly singular");
        assert_eq!(of(&[f64::NAN, 0.0, 0.0, 1.0]), None);
        assert_eq!(of(&[f64::INFINITY, 0.0, 0.0, 1.0]), None);
        assert!(of(&[1.0, 0.0, 0.0, 1e-13]).is_some());
        assert_eq!(Cholesky::of(&[], 0), Some(Cholesky::unit(0)));
    }
}
