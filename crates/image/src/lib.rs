//! What is inside a file: archives, file-system images, boot images, folders.
