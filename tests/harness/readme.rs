//! The code blocks of the documents, compiled and run as doc tests.

#![doc = include_str!("../../README.md")]
#![doc = include_str!("../../README.zh-CN.md")]
