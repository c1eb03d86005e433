/** Names of image files that are read. */
export const isImageName = (file: string): boolean => /\.(jpe?g|png|webp|gif|tiff?|bmp)$/i.test(file)

/** Names of image files that are not. */
export const isOtherImageName = (file: string): boolean => /\.(p[bgnp]m|heic|heif|avif|jp2|jxl|psd|ico)$/i.test(file)

/** What is read, for messages. */
export const imageFormats = 'JPEG, PNG, WebP, GIF, TIFF or BMP'
