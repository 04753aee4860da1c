package words

// The name of this file is found, too.
