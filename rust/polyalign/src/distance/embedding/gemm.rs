//! Matrix products.

/// A matrix as it lies in memory: element (i, j) at `i * strides.0 + j * strides.1`.
#[derive(Clone, Copy)]
pub(super) struct View<'a, T> {
    pub values: &'a [T],
    pub rows: usize,
    pub columns: usize,
    pub strides: (usize, usize),
}

impl<'a, T> View<'a, T> {
    /// A row-major matrix.
    pub fn new(values: &'a [T], columns: usize) -> Self {
        Self { values, rows: values.len() / columns, columns, strides: (columns, 1) }
    }

    /// Its transpose.
    pub fn transposed(self) -> Self {
        let strides = (self.strides.1, self.strides.0);
        Self { rows: self.columns, columns: self.rows, strides, ..self }
    }

    /// Asserts that every element lies within the slice.
    fn check(&self) {
        if self.rows > 0 && self.columns > 0 {
            assert!(
                (self.rows - 1) * self.strides.0 + (self.columns - 1) * self.strides.1 < self.values.len()
            );
        }
    }
}

macro_rules! product {
    ($(#[$meta:meta])* $name:ident, $type:ty, $gemm:path) => {
        $(#[$meta])*
        pub(super) fn $name(a: View<'_, $type>, b: View<'_, $type>, to: &mut [$type]) {
            a.check();
            b.check();
            assert!(a.columns == b.rows && to.len() >= a.rows * b.columns);
            let stride = |stride: usize| stride as isize;
            // SAFETY: by the assertions every element that is read or written lies in its slice, and
            // the elements of `to` do not overlap.
            unsafe {
                $gemm(
                    a.rows,
                    a.columns,
                    b.columns,
                    1.0,
                    a.values.as_ptr(),
                    stride(a.strides.0),
                    stride(a.strides.1),
                    b.values.as_ptr(),
                    stride(b.strides.0),
                    stride(b.strides.1),
                    0.0,
                    to.as_mut_ptr(),
                    stride(b.columns),
                    1,
                );
            }
        }
    };
}

product!(
    /// `to` = a b, row-major, in single precision.
    product_f32,
    f32,
    matrixmultiply::sgemm
);
product!(
    /// `to` = a b, row-major.
    product_f64,
    f64,
    matrixmultiply::dgemm
);
