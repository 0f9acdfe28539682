//! Arrow data of others, looked at before it is trusted: what arrow's readers and the C interface take on faith.

use arrow_buffer::ArrowNativeType;
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType};

/// What is wrong with an array, and the row, if it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// In the array.
    pub row: Option<usize>,
    /// In one line.
    pub reason: String,
}

/// Refuses an array whose lengths, offsets, keys, counts of nulls or text don't hold, at any depth.
///
/// That a field without nulls has none is not looked at: nothing here relies on it.
///
/// # Errors
/// The first thing that is wrong.
///
/// ```
/// use arrow_array::{Array, StringArray};
/// use arrow_data::ArrayData;
/// use arrow_buffer::Buffer;
/// use arrow_schema::DataType;
/// use polyalign::records::validate::validate;
///
/// assert!(validate(&StringArray::from(vec!["Tea?"]).to_data()).is_ok());
/// let offsets = Buffer::from_slice_ref([0i32, 1, 3]);
/// let text = ArrayData::builder(DataType::Utf8).len(2).buffers(vec![offsets, Buffer::from(b"a\xff\xfe")]);
/// // SAFETY: it is not read before it is validated.
/// let error = validate(&unsafe { text.build_unchecked() }).unwrap_err();
/// assert_eq!((error.row, error.reason.as_str()), (Some(1), "the text is not UTF-8"));
/// ```
pub fn validate(data: &ArrayData) -> Result<(), Invalid> {
    // The C interface gives an empty slice no values, whatever its offsets say: nothing is read of it.
    if data.is_empty() {
        return Ok(());
    }
    let invalid = |e: ArrowError| {
        let reason = crate::error::one_line(&e.to_string());
        match bad_text(data) {
            Some(row) => Invalid { row: Some(row), reason: "the text is not UTF-8".into() },
            None => Invalid { row: None, reason },
        }
    };
    data.validate().map_err(|e| Invalid { row: None, reason: crate::error::one_line(&e.to_string()) })?;
    values(data).map_err(invalid)
}

/// Refuses values that don't hold, in an array whose buffers are long enough.
fn values(data: &ArrayData) -> Result<(), ArrowError> {
    if let Some(nulls) = data.nulls()
        && nulls.len() - nulls.inner().count_set_bits() != nulls.null_count()
    {
        return Err(ArrowError::InvalidArgumentError("the number of nulls is another one".into()));
    }
    let is_text = match data.data_type() {
        DataType::Utf8 => is_text::<i32>(data),
        DataType::LargeUtf8 => is_text::<i64>(data),
        _ => false,
    };
    if !is_text {
        data.validate_values()?;
    }
    data.child_data().iter().try_for_each(values)
}

/// Whether an array of text is sound; quicker than arrow's way, which says where it is not.
fn is_text<T: ArrowNativeType>(data: &ArrayData) -> bool {
    let Some((offsets, bytes)) = text_parts::<T>(data) else { return false };
    let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else { return true };
    let Some(text) = first.to_usize().zip(last.to_usize()).and_then(|(a, b)| bytes.get(a..b)) else {
        return false;
    };
    let start = first.as_usize();
    let is_ascii = text.is_ascii();
    let Ok(text) = simdutf8::basic::from_utf8(text) else { return false };
    let in_order = offsets.windows(2).all(|ends| matches!(ends, [a, b] if a <= b));
    // In order, they are all within.
    in_order && (is_ascii || offsets.iter().all(|at| text.is_char_boundary(at.as_usize() - start)))
}

/// The offsets and bytes of an array of text.
fn text_parts<T: ArrowNativeType>(data: &ArrayData) -> Option<(&[T], &[u8])> {
    let [offsets, bytes] = data.buffers() else { return None };
    if data.is_empty() {
        return Some((&[], bytes));
    }
    let end = data.offset().checked_add(data.len())?.checked_add(1)?;
    (offsets.len() / size_of::<T>() >= end).then_some(())?;
    Some((offsets.typed_data::<T>().get(data.offset()..end)?, bytes))
}

/// The row of the first text that is not UTF-8.
fn bad_text(data: &ArrayData) -> Option<usize> {
    let of_list = |row: Option<usize>| row.and_then(|item| row_of::<i32>(data, item));
    match data.data_type() {
        DataType::Utf8 => bad_row::<i32>(data),
        DataType::LargeUtf8 => bad_row::<i64>(data),
        DataType::Struct(_) => {
            data.child_data().iter().filter_map(bad_text).min().map(|row| row.saturating_sub(data.offset()))
        }
        DataType::List(_) | DataType::Map(..) => of_list(data.child_data().first().and_then(bad_text)),
        DataType::LargeList(_) => {
            data.child_data().first().and_then(bad_text).and_then(|item| row_of::<i64>(data, item))
        }
        _ => None,
    }
}

fn bad_row<T: ArrowNativeType>(data: &ArrayData) -> Option<usize> {
    let (offsets, bytes) = text_parts::<T>(data)?;
    offsets.windows(2).position(|ends| {
        let text = ends[0].to_usize().zip(ends[1].to_usize()).and_then(|(a, b)| bytes.get(a..b));
        text.is_some_and(|text| simdutf8::basic::from_utf8(text).is_err())
    })
}

/// The row of a list that an item is in.
fn row_of<T: ArrowNativeType>(data: &ArrayData, item: usize) -> Option<usize> {
    let end = data.offset().checked_add(data.len())?.checked_add(1)?;
    let offsets = data.buffers().first()?;
    (offsets.len() / size_of::<T>() >= end).then_some(())?;
    let offsets = offsets.typed_data::<T>().get(data.offset()..end)?;
    offsets.windows(2).position(|ends| (ends[0].to_usize()..ends[1].to_usize()).contains(&Some(item)))
}
