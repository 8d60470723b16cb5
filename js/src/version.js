/** The version of this release; the build script holds it equal to package.json's. */
export const VERSION = '0.1.0';
