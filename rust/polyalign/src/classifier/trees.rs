//! Boosted trees over columns of numbers: a row's score is the sum of the leaves that it falls into.
//!
//! The nodes of all trees stand in a row, a tree's root first and children after their parents, so that a walk always
//! ends. At an inner node a row goes left if its value in a column is no greater than the threshold; a missing value
//! (NaN) goes where the node says.

use crate::{Error, Result, error::unless_stopped};
use rayon::prelude::*;
use std::sync::atomic::AtomicBool;

/// The trees, as columns over their nodes.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    /// Where each tree's root is.
    pub roots: &'a [u32],
    /// The column asked; -1 at a leaf.
    pub column: &'a [i32],
    /// The largest value that goes left.
    pub threshold: &'a [f64],
    /// Whether a missing value goes left.
    pub missing_left: &'a [bool],
    /// Where it goes on, to the left and to the right; of no meaning at a leaf.
    pub children: [&'a [u32]; 2],
    /// What a leaf adds.
    pub value: &'a [f64],
}

#[derive(Clone, Copy, Debug)]
struct Node {
    threshold: f64,
    value: f64,
    column: u32,
    children: [u32; 2],
    missing: u8,
}

const LEAF: u32 = u32::MAX;

/// Trees that were checked: any row of so many columns walks each of them to a leaf.
#[derive(Clone, Debug)]
pub struct Trees {
    roots: Vec<u32>,
    nodes: Vec<Node>,
    columns: usize,
}

impl Trees {
    /// Takes trees over rows of `columns` numbers.
    ///
    /// # Errors
    /// Columns of different lengths, a child that does not stand after its parent, a column or root that is not there, a
    /// number that is not finite.
    pub fn new(of: Columns<'_>, columns: usize) -> Result<Self> {
        let count = of.column.len();
        let lengths = [
            of.threshold.len(),
            of.missing_left.len(),
            of.children[0].len(),
            of.children[1].len(),
            of.value.len(),
        ];
        if lengths.iter().any(|&length| length != count) || u32::try_from(count).is_err() {
            return Err(Error::Input(format!("trees of {count} nodes with {lengths:?} of what nodes have")));
        }
        if let Some(root) = of.roots.iter().find(|&&root| root as usize >= count) {
            return Err(Error::Input(format!("a tree begins at node {root} of {count}")));
        }
        let nodes = (0..count).map(|at| node(&of, at, columns)).collect::<Result<_>>()?;
        Ok(Self { roots: of.roots.to_vec(), nodes, columns })
    }

    /// The score of a row.
    ///
    /// # Panics
    /// If the row has another number of columns.
    pub fn score(&self, row: &[f64]) -> f64 {
        assert_eq!(row.len(), self.columns, "a number a column");
        self.roots.iter().map(|&root| self.leaf(root, row)).sum()
    }

    fn leaf(&self, root: u32, row: &[f64]) -> f64 {
        let mut node = &self.nodes[root as usize];
        while node.column != LEAF {
            let value = row[node.column as usize];
            let side =
                if value.is_nan() { usize::from(node.missing) } else { usize::from(value > node.threshold) };
            node = &self.nodes[node.children[side] as usize];
        }
        node.value
    }

    /// The scores of rows that stand one after another.
    ///
    /// # Errors
    /// Not whole rows; [`Interrupted`](Error::Interrupted) soon after `stop` is set.
    pub fn scores(&self, rows: &[f64], stop: &AtomicBool) -> Result<Vec<f64>> {
        if self.columns == 0 || !rows.len().is_multiple_of(self.columns) {
            return Err(Error::Input(format!(
                "{} numbers are no rows of {} columns",
                rows.len(),
                self.columns
            )));
        }
        rows.par_chunks(self.columns)
            .map(|row| {
                unless_stopped(stop)?;
                Ok(self.score(row))
            })
            .collect()
    }
}

fn node(of: &Columns<'_>, at: usize, columns: usize) -> Result<Node> {
    let broken = |what: &str| Error::Input(format!("node {at} of the trees has {what}"));
    let (threshold, value) = (of.threshold[at], of.value[at]);
    if of.column[at] < 0 {
        if !value.is_finite() {
            return Err(broken("no finite value"));
        }
        return Ok(Node { threshold: 0.0, value, column: LEAF, children: [0; 2], missing: 0 });
    }
    let children = [of.children[0][at], of.children[1][at]];
    if children.iter().any(|&child| child as usize <= at || child as usize >= of.column.len()) {
        return Err(broken("a child that does not stand after it"));
    }
    if of.column[at] as usize >= columns || threshold.is_nan() {
        return Err(broken("a column or a threshold that there is not"));
    }
    let missing = u8::from(!of.missing_left[at]);
    Ok(Node { threshold, value: 0.0, column: of.column[at] as u32, children, missing })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two trees: x0 <= 1 ? (x1 <= 2 ? 10 : 20) : 30, missing to the right; and a leaf of 5.
    fn columns() -> Columns<'static> {
        Columns {
            roots: &[0, 5],
            column: &[0, 1, -1, -1, -1, -1],
            threshold: &[1.0, 2.0, 0.0, 0.0, 0.0, 0.0],
            missing_left: &[false, true, false, false, false, false],
            children: [&[1, 2, 0, 0, 0, 0], &[4, 3, 0, 0, 0, 0]],
            value: &[0.0, 0.0, 10.0, 20.0, 30.0, 5.0],
        }
    }

    #[test]
    fn rows_fall_into_leaves() {
        let trees = Trees::new(columns(), 2).unwrap();
        let rows = [[1.0, 2.0], [0.0, 2.5], [1.5, 0.0], [f64::NAN, 0.0], [0.0, f64::NAN]];
        let scores = trees.scores(rows.as_flattened(), &AtomicBool::new(false)).unwrap();
        assert_eq!(scores, [15.0, 25.0, 35.0, 35.0, 15.0]);
    }

    #[test]
    fn what_can_not_be_walked_is_refused() {
        let broken = [
            Columns { roots: &[6], ..columns() },
            Columns { value: &[0.0], ..columns() },
            Columns { children: [&[0, 2, 0, 0, 0, 0], columns().children[1]], ..columns() },
            Columns { children: [&[9, 2, 0, 0, 0, 0], columns().children[1]], ..columns() },
            Columns { column: &[2, 1, -1, -1, -1, -1], ..columns() },
            Columns { threshold: &[f64::NAN, 2.0, 0.0, 0.0, 0.0, 0.0], ..columns() },
            Columns { value: &[0.0, 0.0, f64::INFINITY, 20.0, 30.0, 5.0], ..columns() },
        ];
        for columns in broken {
            assert!(Trees::new(columns, 2).is_err(), "{columns:?}");
        }
        let trees = Trees::new(columns(), 2).unwrap();
        assert!(trees.scores(&[0.0; 3], &AtomicBool::new(false)).is_err());
    }
}
