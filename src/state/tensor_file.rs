//! Files of tensors in the format of safetensors, written and read one tensor at a time.
//!
//! Nothing in a file is executed. The header is read and checked by the crate of the format's authors, and
//! no more memory is taken than the file has bytes.

use std::collections::HashMap;
use std::io::{Read, Write};

use crc32fast::Hasher;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::tensor::{Tensor, Values};
use crate::error::{Error, Result};
use crate::memory;

/// Largest header, the limit of the format.
const LARGEST_HEADER: u64 = 100_000_000;

/// Tensors with their names.
pub(super) type Named = Vec<(String, Tensor)>;

/// Reads `len` bytes of a file, `name` in messages; also returns their CRC-32.
///
/// # Errors
/// [`Error::File`] where the system fails, [`Error::State`] for what is no such file, [`Error::Memory`].
pub(super) fn read(name: &str, len: u64, reader: impl Read) -> Result<(Named, u32)> {
    let mut source = Source { name, reader, checksum: Hasher::new() };
    let mut length = [0; 8];
    source.fill(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > LARGEST_HEADER || length.checked_add(8).is_none_or(|start| start > len) {
        return Err(source.damaged("is truncated or no file of safetensors"));
    }
    let mut header = memory::filled(0, length as usize)?;
    source.fill(&mut header)?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|error| source.damaged(format!("the header is damaged: {error}")))?;
    if metadata.data_len() as u64 != len - 8 - length {
        let why = "has another number of bytes than its header tells of";
        return Err(source.damaged(why));
    }
    let mut tensors = Vec::new();
    // In the order in which they stand there, without gaps: that has been checked.
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else { continue };
        let tensor = source.tensor(info)?;
        tensors.push((name, tensor));
    }
    Ok((tensors, source.checksum.finalize()))
}

struct Source<'a, R> {
    name: &'a str,
    reader: R,
    checksum: Hasher,
}

impl<R: Read> Source<'_, R> {
    fn damaged(&self, why: impl Into<String>) -> Error {
        Error::State { why: format!("{}: {}", self.name, why.into()) }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.reader.read_exact(bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.damaged("is truncated"),
            _ => Error::File { path: self.name.to_owned(), why: error.to_string() },
        })?;
        self.checksum.update(bytes);
        Ok(())
    }

    fn tensor(&mut self, info: &TensorInfo) -> Result<Tensor> {
        let mut bytes = memory::filled(0, info.data_offsets.1 - info.data_offsets.0)?;
        self.fill(&mut bytes)?;
        let values = match info.dtype {
            Dtype::F32 => Values::F32(numbers(&bytes, f32::from_le_bytes)?),
            Dtype::F64 => Values::F64(numbers(&bytes, f64::from_le_bytes)?),
            Dtype::I64 => Values::I64(numbers(&bytes, i64::from_le_bytes)?),
            Dtype::I8 => Values::I8(numbers(&bytes, i8::from_le_bytes)?),
            Dtype::U8 => Values::U8(bytes),
            other => Values::Other { kind: other.to_string(), bytes },
        };
        Ok(Tensor { shape: info.shape.clone(), values })
    }
}

fn numbers<T, const N: usize>(bytes: &[u8], number: fn([u8; N]) -> T) -> Result<Vec<T>> {
    let (numbers, _) = bytes.as_chunks();
    let mut values = memory::room(numbers.len())?;
    values.extend(numbers.iter().map(|bytes| number(*bytes)));
    Ok(values)
}

/// Writes a file, `name` in messages, and returns its CRC-32.
///
/// # Errors
/// [`Error::File`] where the system fails, [`Error::State`] for tensors whose values do not fill their
/// shape or whose type the format does not have.
pub(super) fn write(
    name: &str,
    mut tensors: Vec<(&str, &Tensor)>,
    writer: impl Write,
) -> Result<u32> {
    let refused = |tensor: &str, why: &str| Error::State { why: format!("{tensor}: {why}") };
    let mut described = Vec::with_capacity(tensors.len());
    for (name, tensor) in &tensors {
        let no_type = || refused(name, "the format has no such type");
        let dtype = dtype(tensor.values.dtype()).ok_or_else(no_type)?;
        if !tensor.is_filled() {
            return Err(refused(name, "the values do not fill the shape"));
        }
        described.push((*name, dtype));
    }
    let dtypes: HashMap<&str, Dtype> = described.into_iter().collect();
    // Large elements first, so that each tensor begins at a multiple of the size of its elements.
    let bits = |name: &str| dtypes.get(name).map_or(0, Dtype::bitsize);
    tensors.sort_by(|(one, _), (other, _)| bits(other).cmp(&bits(one)).then(one.cmp(other)));
    let mut at = 0;
    let infos = tensors.iter().filter_map(|(name, tensor)| {
        let begin = at;
        at += bytes_of(&tensor.values);
        let (shape, data_offsets) = (tensor.shape.clone(), (begin, at));
        let info = TensorInfo { dtype: *dtypes.get(name)?, shape, data_offsets };
        Some(((*name).to_owned(), info))
    });
    let infos = infos.collect();
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let header = Metadata::new(Some(format.into_iter().collect()), infos)
        .map_err(|error| refused(name, &error.to_string()))?;
    let mut text =
        serde_json::to_vec(&header).map_err(|error| refused(name, &error.to_string()))?;
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut target = Target { name, writer, checksum: Hasher::new() };
    target.put(&(text.len() as u64).to_le_bytes())?;
    target.put(&text)?;
    for (_, tensor) in &tensors {
        match &tensor.values {
            Values::F32(values) => target.numbers(values, |value| value.to_le_bytes())?,
            Values::F64(values) => target.numbers(values, |value| value.to_le_bytes())?,
            Values::I64(values) => target.numbers(values, |value| value.to_le_bytes())?,
            Values::I8(values) => target.numbers(values, |value| value.to_le_bytes())?,
            Values::U8(bytes) | Values::Other { bytes, .. } => target.put(bytes)?,
        }
    }
    target.finish()
}

struct Target<'a, W> {
    name: &'a str,
    writer: W,
    checksum: Hasher,
}

impl<W: Write> Target<'_, W> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.checksum.update(bytes);
        self.writer.write_all(bytes).map_err(|error| self.failed(&error))
    }

    fn numbers<T: Copy, const N: usize>(
        &mut self,
        values: &[T],
        bytes: fn(T) -> [u8; N],
    ) -> Result<()> {
        /// Values that are written at once.
        const MANY: usize = 1 << 14;
        let mut part = Vec::new();
        for values in values.chunks(MANY) {
            part.clear();
            part.extend(values.iter().flat_map(|value| bytes(*value)));
            self.put(&part)?;
        }
        Ok(())
    }

    fn failed(&self, error: &std::io::Error) -> Error {
        Error::File { path: self.name.to_owned(), why: error.to_string() }
    }

    fn finish(mut self) -> Result<u32> {
        self.writer.flush().map_err(|error| self.failed(&error))?;
        Ok(self.checksum.finalize())
    }
}

/// The type with this name.
fn dtype(name: &str) -> Option<Dtype> {
    serde_json::from_value(serde_json::Value::from(name)).ok()
}

fn bytes_of(values: &Values) -> usize {
    match values {
        Values::F32(values) => size_of_val(&**values),
        Values::F64(values) => size_of_val(&**values),
        Values::I64(values) => size_of_val(&**values),
        Values::I8(values) => size_of_val(&**values),
        Values::U8(bytes) | Values::Other { bytes, .. } => bytes.len(),
    }
}
