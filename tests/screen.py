"""What somebody sees who looks at the output of a program."""
import re


def on_screen(text):
    """The lines that a terminal or a notebook shows of `text`, after all that is written over."""
    lines, column = [''], 0
    for part in re.findall('[^\b\r\n]+|.', text, re.DOTALL):
        if part == '\n':
            lines.append('')
            column = 0
        elif part in '\b\r':
            column = max(column - 1, 0) if part == '\b' else 0
        else:
            lines[-1] = lines[-1][:column] + part + lines[-1][column + len(part):]
            column += len(part)
    return [line.rstrip() for line in lines]
