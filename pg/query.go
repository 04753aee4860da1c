package pg

import "context"

// Query asks the server one question, on a connection of its own that is closed after it: sessions carry nothing but locks. The answer is
// each row's values as text; a null is the empty text. what says what is asked, for the error. It blocks until the answer has come, ctx ends,
// or nothing is heard for as long as ConnectTimeout.
func (p *Pool) Query(ctx context.Context, what, sql string) (rows [][]string, err error) {
	_, err = p.connector.attempt(ctx, func(ctx context.Context, a *attempt) (*connection, error) {
		question := ask(sql)
		w, err := p.connector.obtain(ctx, a, func(ctx context.Context, w *wire) error {
			if err := p.connector.newSetUp(w).run(ctx); err != nil { // which makes sure that it is the server that has the locks
				return err
			}
			return w.exchange(ctx, what, question)
		})
		if err != nil {
			return nil, err
		}
		w.hangUp()
		for _, row := range question.rows {
			texts := make([]string, len(row))
			for i, value := range row {
				texts[i] = string(value)
			}
			rows = append(rows, texts)
		}
		return nil, question.err
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}
