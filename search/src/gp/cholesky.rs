//! The Cholesky factor of a positive definite matrix, and what is solved with it.

/// How many sums run side by side in [`dot`]: what a processor can add at once, and a fixed order
/// of additions, so that the bits are the same on all of them.
const LANES: usize = 8;

/// The scalar product of the parts that both vectors have.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let length = a.len().min(b.len());
    let (a, b) = (&a[..length], &b[..length]);
    let (left, right) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f64 = left
        .remainder()
        .iter()
        .zip(right.remainder())
        .map(|(a, b)| a * b)
        .sum();
    let mut lanes = [0.0; LANES];
    for (a, b) in left.zip(right) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h)) + tail
}

/// `y += factor * x`.
pub(super) fn add_scaled(y: &mut [f64], factor: f64, x: &[f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}

/// The lower triangular `L` with `L L^T = A`. Its first `m` rows are the factor of the first `m`
/// rows and columns of `A`.
#[derive(Debug, Clone)]
pub(super) struct Cholesky {
    size: usize,
    /// Row by row, each of full length; what is above the diagonal is not read.
    rows: Vec<f64>,
}

impl Cholesky {
    /// Factors a matrix given row by row, of which the lower triangle is read; `None` where it is
    /// not positive definite to rounding.
    pub(super) fn of(size: usize, mut matrix: Vec<f64>) -> Option<Self> {
        for i in 0..size {
            let (above, rest) = matrix.split_at_mut(i * size);
            let row = &mut rest[..size];
            for j in 0..i {
                let other = &above[j * size..][..=j];
                row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
            }
            let pivot = row[i] - dot(&row[..i], &row[..i]);
            // Not `pivot <= 0`: what is not a number is refused as well.
            if !(pivot > 0.0 && pivot.is_finite()) {
                return None;
            }
            row[i] = pivot.sqrt();
        }
        Some(Self { size, rows: matrix })
    }

    /// The row up to its diagonal.
    fn row(&self, i: usize) -> &[f64] {
        &self.rows[i * self.size..][..=i]
    }

    /// Turns `b` into the `v` with `L v = b`; a `b` shorter than `L` meets its first rows.
    pub(super) fn solve_lower(&self, b: &mut [f64]) {
        for i in 0..b.len() {
            let row = self.row(i);
            b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
        }
    }

    /// Turns `b` into the `x` with `L^T x = b`, in the same way.
    pub(super) fn solve_upper(&self, b: &mut [f64]) {
        for i in (0..b.len()).rev() {
            let row = self.row(i);
            let x = b[i] / row[i];
            b[i] = x;
            add_scaled(&mut b[..i], -x, &row[..i]);
        }
    }

    /// The logarithm of the determinant of `A`.
    pub(super) fn ln_det(&self) -> f64 {
        let diagonal = (0..self.size).map(|i| libm::log(self.rows[i * self.size + i]));
        2.0 * diagonal.sum::<f64>()
    }

    /// The lower triangle of the inverse of `A`, row by row.
    pub(super) fn inverse(&self) -> Vec<f64> {
        let n = self.size;
        // Row j holds column j of the inverse of L, which is zero before its j-th part.
        let mut columns = vec![0.0; n * n];
        for j in 0..n {
            let column = &mut columns[j * n..][..n];
            column[j] = 1.0 / self.row(j)[j];
            for i in j + 1..n {
                let row = self.row(i);
                column[i] = -dot(&row[j..i], &column[j..i]) / row[i];
            }
        }
        let mut inverse = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                inverse[i * n + j] = dot(&columns[i * n..][i..n], &columns[j * n..][i..n]);
            }
        }
        inverse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A A^T + I for some A.
    fn positive_definite(n: usize) -> Vec<f64> {
        let a = |i: usize, j: usize| libm::sin((i * 31 + j * 17 + 1) as f64);
        let product = |i, j| (0..n).map(|k| a(i, k) * a(j, k)).sum::<f64>();
        let one = |i, j| f64::from(u8::from(i == j));
        let cells = (0..n * n).map(|at| (at / n, at % n));
        cells.map(|(i, j)| product(i, j) + one(i, j)).collect()
    }

    #[test]
    fn the_factor_of_a_matrix_by_hand() {
        let factor = Cholesky::of(2, vec![4.0, 0.0, 2.0, 10.0]).unwrap();
        assert_eq!(factor.row(0), [2.0]);
        assert_eq!(factor.row(1), [1.0, 3.0]);
        assert!((factor.ln_det() - libm::log(36.0)).abs() < 1e-15);
        assert!(Cholesky::of(2, vec![1.0, 0.0, 2.0, 1.0]).is_none());
        assert!(Cholesky::of(1, vec![f64::NAN]).is_none());
    }

    #[test]
    fn solutions_and_inverse_undo_the_matrix() {
        let n = 21;
        let matrix = positive_definite(n);
        let factor = Cholesky::of(n, matrix.clone()).unwrap();
        let b: Vec<f64> = (0..n).map(|i| i as f64 - 3.0).collect();
        let mut x = b.clone();
        factor.solve_lower(&mut x);
        factor.solve_upper(&mut x);
        let inverse = factor.inverse();
        for i in 0..n {
            let row = &matrix[i * n..][..n];
            assert!((dot(row, &x) - b[i]).abs() < 1e-10);
            let full = |j: usize| inverse[i.max(j) * n + i.min(j)];
            let by_inverse: f64 = (0..n).map(|j| full(j) * b[j]).sum();
            assert!((by_inverse - x[i]).abs() < 1e-10);
        }
    }
}
