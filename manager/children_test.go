package manager_test

func playChild(string) int { return 2 }
